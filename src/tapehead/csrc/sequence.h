// What every machine's sequence has in common as the core takes it: a list of sizes and pointers for the forward and the
// backward. ntm.h and mann.h add what is their own.
//
// The caller (ops/core_calls.py) allocates every array and owns it; the core keeps no pointer after it returns. Arrays are
// contiguous, row-major, of the call's dtype (float, or double with `double_precision`), and hold what their comment says.
// A pointer that is 0 is an array that is not there. Letters as in DESIGN and the docs: B batch, T time, H hidden size,
// L controller layers, N slots, M word size, R read heads, heads: all heads that have weights over the slots, read heads
// first. Np is N rounded up to a multiple of 16; elements of slots N..Np-1 are padding. G is 4H with an LSTM controller
// (gates in the order input, forget, candidate, output) and H with a feed-forward one. P is the sum of the settings'
// head_sizes, in its order.
//
// `groups` are calls of these sizes side by side, each with rows and parameters of its own. Every array has `groups` times
// the length that its comment says, one group's behind the other's; a pointer is that of the first.
#pragma once

#include <cstdint>

// clang-format off
#define TAPEHEAD_SEQUENCE_FIELDS(X) \
    /* sizes */ \
    X(steps)               /* T */ \
    X(rows)                /* B */ \
    X(input_size)          /* D */ \
    X(hidden_size)         /* H */ \
    X(layers)              /* L */ \
    X(memory_size)         /* N */ \
    X(padded_size)         /* Np */ \
    X(word_size)           /* M */ \
    X(read_heads)          /* R */ \
    X(groups)              /* >= 1 */ \
    /* choices: 0 or 1 */ \
    X(lstm)                /* controller: LSTM, else feed-forward */ \
    X(write_read)          /* order: write, then read; else read, then write */ \
    X(tanh_key) \
    X(tanh_add) \
    X(relu)                /* feed-forward controller: max(x, 0), else tanh */ \
    X(double_precision) \
    /* how to run */ \
    X(threads)             /* at most so many */ \
    X(save)                /* 1: keep every step for the backward. 0: arrays marked (T) have one step, overwritten */ \
    X(checkpoint_every)    /* memories are kept after every so many steps; >= 1; with save = 0 unused */ \
    X(strides)             /* int64, one a field: bytes from one group's array to the next one's, 0 for what is no array */ \
    X(poison)              /* 1: fill workspaces with NaN, for tests */ \
    X(internals)           /* memory that most arrays marked (T) are in: where it is, and how large */ \
    X(internals_bytes) \
    X(lengths)             /* int64 (B,), in 0..T; 0: T for all */ \
    /* what a sequence starts from */ \
    X(input)               /* (T,B,D) */ \
    X(memory)              /* (B,N,M) */ \
    X(read_weights)        /* (B,R,N) */ \
    X(reads)               /* (B,R,M) */ \
    X(hidden)              /* (L,B,H); LSTM */ \
    X(cell)                /* (L,B,H); LSTM */ \
    /* parameters */ \
    X(weight_input)        /* (G,D): lowest layer, of the input, as the next three */ \
    X(bias)                /* (G,) */ \
    X(weight_reads)        /* (G,R*M): of the reads */ \
    X(weight_hidden)       /* (G,H): of its own past; LSTM */ \
    X(upper_weight)        /* (L-1,G,H+H), feed-forward (L-1,G,H): layers above it, of what is below and of their own past */ \
    X(upper_bias)          /* (L-1,G) */ \
    X(heads_weight)        /* (P,H) */ \
    X(heads_bias)          /* (P,) */ \
    /* what the forward makes: results */ \
    X(output)              /* (T,B,H+R*M); zero past a row's length, as all that Python sees of steps */ \
    X(last_memory)         /* (B,N,M) */ \
    X(last_read_weights)   /* (B,R,N) */ \
    X(last_reads)          /* (B,R,M) */ \
    X(last_hidden)         /* (L,B,H); LSTM */ \
    X(last_cell)           /* (L,B,H); LSTM */ \
    /* what the forward makes: saved for the backward, and shown in traces; see the README of the machine's op */ \
    X(memories)            /* (T/checkpoint_every+1,B,M,Np): M_0 and then M_t, transposed. Only with save */ \
    X(weights)             /* (T) (T,B,heads,Np): w_t */ \
    X(parameters)          /* (T) (T,B,P): the heads' parameters, each in its range */ \
    /* what the forward makes: saved for the backward alone */ \
    X(similarity)          /* (T) (T,B,heads,Np): K of eq. 6 */ \
    X(inverse_norms)       /* (T) (T,B,norms,Np): 1/|M(i)| of each memory that is addressed */ \
    X(slopes)              /* (T) (T,B,slopes): derivatives, and what else the addressing's backward needs of a head */ \
    X(gates)               /* (T) (L,T,B,6H): i, f, g, o, c, tanh c; LSTM */ \
    X(lower)               /* (L-1,T,B,H): what the layers below the top one gave. Only with save */ \
    /* what the backward is given: gradients of results, 0 where there is none */ \
    X(grad_output) X(grad_last_memory) X(grad_last_read_weights) X(grad_last_reads) X(grad_last_hidden) X(grad_last_cell) \
    X(grad_memories) X(grad_weights) X(grad_parameters) /* as shown in traces, in the forward's layouts */ \
    /* what the backward makes: gradients of what the forward was given, in its layouts */ \
    X(grad_input)          /* 0 where nobody wants it */ \
    X(grad_memory)         /* 0 where nobody wants those of the state, as the next four */ \
    X(grad_read_weights) X(grad_reads) X(grad_hidden) X(grad_cell) \
    X(grad_weight_input) X(grad_bias) X(grad_weight_reads) X(grad_weight_hidden) X(grad_upper_weight) X(grad_upper_bias) \
    X(grad_heads_weight) X(grad_heads_bias)
// clang-format on

#define TAPEHEAD_FIELD(name) std::int64_t name;

namespace tapehead {

// Every field is 8 bytes, pointers too, in the order of the lists, those of the machine last: the caller passes an array of
// integers.
struct SequenceFields {
    TAPEHEAD_SEQUENCE_FIELDS(TAPEHEAD_FIELD)
};

// What a kernel returns.
enum Status : int { done = 0, out_of_memory = 1 };

}  // namespace tapehead
