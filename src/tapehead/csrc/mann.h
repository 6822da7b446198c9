// The MANN's sequence as the core takes it: what it has besides the fields of sequence.h. heads = R: each of them reads and
// writes. C slots are cleared in a step: 1, or R. Equations are those of the MANN's paper, arXiv 1605.06065.
#pragma once

#include "sequence.h"

// clang-format off
#define TAPEHEAD_MANN_FIELDS(X) \
    /* choices */ \
    X(learned_strength)    /* 1: key strengths are parameters of the heads. 0: they are 1 */ \
    X(add)                 /* 1: what is written is a vector of its own. 0: it is the key */ \
    X(least_used)          /* 0: one slot, for all heads. 1: R slots, each head's own. 2: R slots, all of them every head's */ \
    X(usage_decay)         /* gamma of eq. 20: bits of a double in 0..1 */ \
    /* state */ \
    X(usage)               /* (B,N) */ \
    X(last_usage)          /* (B,N) */ \
    /* kept, as the arrays of sequence.h. `inverse_norms` has one norm a step, of the memory that is read. `slopes` has R: */ \
    /* of key strengths. `weights` are the read weights. */ \
    X(written)             /* (T,B,R,Np): w^w_t. Only for a trace */ \
    X(usages)              /* (T,B,Np): w^u_t. Only for a trace */ \
    X(unused)              /* (T) (T,B,C): numbers of the slots that are cleared, the least used first; -1 past a row's length */ \
    /* gradients */ \
    X(grad_written)
// clang-format on

namespace tapehead {

struct MANNFields : SequenceFields {
    TAPEHEAD_MANN_FIELDS(TAPEHEAD_FIELD)
};

}  // namespace tapehead
