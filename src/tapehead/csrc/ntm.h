// The NTM's sequence as the core takes it: one list of sizes and pointers for the forward and the backward.
//
// The caller (ops/ntm/cpu.py) allocates every array and owns it; the core keeps no pointer after it returns. Arrays
// are contiguous, row-major, of the call's dtype (float, or double with `double_precision`), and hold what their comment
// says. A pointer that is 0 is an array that is not there. Letters as in DESIGN and the docs: B batch, T time, H hidden
// size, L controller layers, N slots, M word size, R and W read and write heads, heads = R + W with the read heads first,
// S shift offsets. Np is N rounded up to a multiple of 16; elements of slots N..Np-1 are padding. G is 4H with an LSTM
// controller (gates in the order input, forget, candidate, output) and H with a feed-forward one. P is the sum of
// NTMSettings.head_sizes, in its order.
#pragma once

#include <cstdint>

// clang-format off
#define TAPEHEAD_NTM_FIELDS(X) \
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
    X(write_heads)         /* W */ \
    X(max_shift)           /* (S - 1) / 2 */ \
    /* choices: 0 or 1 */ \
    X(lstm)                /* controller: LSTM, else feed-forward */ \
    X(location)            /* addressing by content and location, else by content */ \
    X(write_read)          /* order: write, then read; else read, then write */ \
    X(tanh_key) \
    X(tanh_add) \
    X(gradient_limit)      /* bits of a double > 0: the largest element of a gradient of previous weights; may be inf */ \
    X(double_precision) \
    /* how to run */ \
    X(threads)             /* at most so many */ \
    X(save)                /* 1: keep every step for the backward. 0: arrays marked (T) have one step, overwritten */ \
    X(checkpoint_every)    /* memories are kept after every so many steps; >= 1; with save = 0 unused */ \
    X(poison)              /* 1: fill workspaces with NaN, for tests */ \
    X(internals)           /* memory that most arrays marked (T) are in: where it is, and how large */ \
    X(internals_bytes) \
    X(lengths)             /* int64 (B,), in 0..T; 0: T for all */ \
    /* what a sequence starts from */ \
    X(input)               /* (T,B,D) */ \
    X(memory)              /* (B,N,M) */ \
    X(read_weights)        /* (B,R,N) */ \
    X(write_weights)       /* (B,W,N) */ \
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
    X(last_write_weights)  /* (B,W,N) */ \
    X(last_reads)          /* (B,R,M) */ \
    X(last_hidden)         /* (L,B,H); LSTM */ \
    X(last_cell)           /* (L,B,H); LSTM */ \
    /* what the forward makes: saved for the backward, and shown in traces; see ops/ntm/README.md */ \
    X(memories)            /* (T/checkpoint_every+1,B,M,Np): M_0 and then M_t, transposed. Only with save */ \
    X(weights)             /* (T) (T,B,heads,Np): w_t */ \
    X(content)             /* (T) (T,B,heads,Np): w^c_t */ \
    X(parameters)          /* (T) (T,B,P): the heads' parameters, each in its range */ \
    /* what the forward makes: saved for the backward alone */ \
    X(similarity)          /* (T) (T,B,heads,Np): K of eq. 6 */ \
    X(logarithms)          /* (T) (T,B,heads,Np): log of the shifted weights; location */ \
    X(inverse_norms)       /* (T) (T,B,1+write_read,Np): 1/|M(i)|; for write_read of M_t, then of M_{t-1} */ \
    X(slopes)              /* (T) (T,B,4*heads): derivatives of key strengths, of gammas; of eq. 9 the largest log, log-sum */ \
    X(gates)               /* (T) (L,T,B,6H): i, f, g, o, c, tanh c; LSTM */ \
    X(lower)               /* (L-1,T,B,H): what the layers below the top one gave. Only with save */ \
    /* what the backward is given: gradients of results, 0 where there is none */ \
    X(grad_output) X(grad_last_memory) X(grad_last_read_weights) X(grad_last_write_weights) X(grad_last_reads) \
    X(grad_last_hidden) X(grad_last_cell) \
    X(grad_memories) X(grad_weights) X(grad_content) X(grad_parameters) /* as shown in traces, in the forward's layouts */ \
    /* what the backward makes: gradients of what the forward was given, in its layouts */ \
    X(grad_input)          /* 0 where nobody wants it */ \
    X(grad_memory)         /* 0 where nobody wants those of the state, as the next five */ \
    X(grad_read_weights) X(grad_write_weights) X(grad_reads) X(grad_hidden) X(grad_cell) \
    X(grad_weight_input) X(grad_bias) X(grad_weight_reads) X(grad_weight_hidden) X(grad_upper_weight) X(grad_upper_bias) \
    X(grad_heads_weight) X(grad_heads_bias)
// clang-format on

namespace tapehead {

// Every field is 8 bytes, pointers too, in the order of the list: the caller passes an array of integers.
struct NTMFields {
#define TAPEHEAD_FIELD(name) std::int64_t name;
    TAPEHEAD_NTM_FIELDS(TAPEHEAD_FIELD)
#undef TAPEHEAD_FIELD
};

// What a kernel returns.
enum Status : int { done = 0, out_of_memory = 1 };

}  // namespace tapehead
