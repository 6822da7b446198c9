// The NTM's own sizes, and where each kind of head parameter lies in a row of P of them.
#pragma once

#include "ntm.h"
#include "shape.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

struct NTMShape : SequenceShape {
    Index write_heads, max_shift, offsets;
    bool location;
    double gradient_limit;
    // Rows of the heads' product, kind by kind: first of each kind.
    Index key, strength, gate, shift, gamma, erase, add;

    explicit NTMShape(const NTMFields& f)
        : SequenceShape(f), write_heads(f.write_heads), max_shift(f.max_shift), offsets(2 * f.max_shift + 1),
          location(f.location != 0), gradient_limit(double_of(f.gradient_limit)) {
        heads = read_heads + write_heads;
        norms = write_read ? 2 : 1;
        slopes = 4 * heads;
        key = 0;
        strength = key + heads * word;
        gate = strength + heads;
        shift = gate + (location ? heads : 0);
        gamma = shift + (location ? heads * offsets : 0);
        erase = gamma + (location ? heads : 0);
        add = erase + write_heads * word;
        parameters = add + write_heads * word;
    }
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
