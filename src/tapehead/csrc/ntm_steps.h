// Where the NTM keeps its steps.
#pragma once

#include "ntm_addressing.h"
#include "work.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

template <class T> class NTMSteps : public SequenceSteps<T> {
  public:
    NTMSteps(const NTMFields& f, const NTMShape& s) : SequenceSteps<T>(f, s), f_(f), s_(s) {}

    T* content(Index t, Index b) const { return this->at(f_.content, t, b, s_.heads * s_.padded); }
    T* logarithms(Index t, Index b) const { return this->at(f_.logarithms, t, b, s_.heads * s_.padded); }

    HeadSlots<T> head(Index t, Index b, Index h) const {
        const Index from = h * s_.padded;
        T* logs = s_.location ? logarithms(t, b) + from : nullptr;
        return {this->similarity(t, b) + from, content(t, b) + from, logs, this->weights(t, b) + from};
    }

  private:
    const NTMFields& f_;
    const NTMShape& s_;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
