// The NTM's sequence as the core takes it: what it has besides the fields of sequence.h. W write heads, heads = R + W,
// S shift offsets. Equations are those of the NTM paper.
#pragma once

#include "sequence.h"

// clang-format off
#define TAPEHEAD_NTM_FIELDS(X) \
    /* sizes and choices */ \
    X(write_heads)         /* W */ \
    X(max_shift)           /* (S - 1) / 2 */ \
    X(location)            /* addressing by content and location, else by content */ \
    X(gradient_limit)      /* bits of a double > 0: the largest element of a gradient of previous weights; may be inf */ \
    /* state */ \
    X(write_weights)       /* (B,W,N) */ \
    X(last_write_weights)  /* (B,W,N) */ \
    /* kept, as the arrays of sequence.h. `inverse_norms` has 1+write_read norms a step: for write_read of M_t, then of */ \
    /* M_{t-1}. `slopes` has 4*heads: of key strengths, of gammas; of eq. 9 the largest log, log-sum. */ \
    X(content)             /* (T) (T,B,heads,Np): w^c_t; shown in traces */ \
    X(logarithms)          /* (T) (T,B,heads,Np): log of the shifted weights; location */ \
    /* gradients */ \
    X(grad_last_write_weights) X(grad_content) X(grad_write_weights)
// clang-format on

namespace tapehead {

struct NTMFields : SequenceFields {
    TAPEHEAD_NTM_FIELDS(TAPEHEAD_FIELD)
};

}  // namespace tapehead
