// Where the MANN keeps its steps.
#pragma once

#include "mann_access.h"
#include "work.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

template <class T> class MANNSteps : public SequenceSteps<T> {
  public:
    MANNSteps(const MANNFields& f, const MANNShape& s) : SequenceSteps<T>(f, s), f_(f), s_(s) {}

    T* unused(Index t, Index b) const { return this->at(f_.unused, t, b, s_.unused); }
    // Only for a trace.
    T* written(Index t, Index b) const { return this->at(f_.written, t, b, s_.heads * s_.padded); }
    T* usage(Index t, Index b) const { return this->at(f_.usages, t, b, s_.padded); }

  private:
    const MANNFields& f_;
    const MANNShape& s_;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
