#include "ntm_backward.h"
#include "ntm_forward.h"
#include "sequence_run.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

int ntm_forward(const NTMFields& fields) {
    return fields.double_precision != 0 ? run<double, NTMShape, NTMForward, true>(fields)
                                        : run<float, NTMShape, NTMForward, true>(fields);
}

int ntm_backward(const NTMFields& fields) {
    return fields.double_precision != 0 ? run<double, NTMShape, NTMBackward, false>(fields)
                                        : run<float, NTMShape, NTMBackward, false>(fields);
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
