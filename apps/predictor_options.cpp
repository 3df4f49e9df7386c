#include "apps/predictor_options.h"

#include "nas/encoding.h"
#include "predictor/machine.h"

namespace ladarts {

Predictor load_predictor_for(const std::string& path, const SearchSpace& space, bool any_device,
                             Device device) {
  PredictorExpectation expected;
  expected.context = load_predictor(path).context;
  expected.context.space = space.id();
  expected.feature_names = encoding_names(space);
  expected.allow_other_device = any_device;
  describe_device(expected.context, device, expected.context.threads);
  return load_predictor(path, expected, device);
}

}  // namespace ladarts
