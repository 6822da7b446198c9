#include "mann_backward.h"
#include "mann_forward.h"
#include "sequence_run.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

int mann_forward(const MANNFields& fields) {
    return fields.double_precision != 0 ? run<double, MANNShape, MANNForward, true>(fields)
                                        : run<float, MANNShape, MANNForward, true>(fields);
}

int mann_backward(const MANNFields& fields) {
    return fields.double_precision != 0 ? run<double, MANNShape, MANNBackward, false>(fields)
                                        : run<float, MANNShape, MANNBackward, false>(fields);
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
