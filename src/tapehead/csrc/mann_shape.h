// The MANN's own sizes, and where each kind of head parameter lies in a row of P of them.
#pragma once

#include "mann.h"
#include "shape.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

struct MANNShape : SequenceShape {
    bool learned_strength, own_add;
    bool each, all;  // choices of `least_used`; neither: one
    Index unused;    // C, slots that are cleared in a step
    double usage_decay;
    // Rows of the heads' product, kind by kind: first of each kind. What is written is the key where there is no add.
    Index key, strength, gate, add;

    explicit MANNShape(const MANNFields& f)
        : SequenceShape(f), learned_strength(f.learned_strength != 0), own_add(f.add != 0), each(f.least_used == 1),
          all(f.least_used == 2), unused(f.least_used == 0 ? 1 : f.read_heads), usage_decay(double_of(f.usage_decay)) {
        heads = read_heads;
        norms = 1;
        slopes = heads;
        key = 0;
        strength = key + heads * word;
        gate = strength + (learned_strength ? heads : 0);
        add = own_add ? gate + heads : key;
        parameters = gate + heads + (own_add ? heads * word : 0);
    }
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
