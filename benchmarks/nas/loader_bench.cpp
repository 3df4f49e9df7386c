// Images per second that the loader's one background thread prepares: choosing augmentations, batching.
// Usage: loader_bench [BATCH] [SECONDS]
#include <cstdlib>

#include "core/clock.h"
#include "core/json_file.h"
#include "core/philox.h"
#include "nas/data/loader.h"

using namespace ladarts;

namespace {

std::shared_ptr<const ImageSet> random_images(int n) {
  auto set = std::make_shared<ImageSet>();
  set->classes.assign(10, "class");
  set->images.resize(size_t(n) * set->image_bytes());
  Random random(1);
  for (uint8_t& p : set->images) p = uint8_t(random.bits());
  for (int i = 0; i < n; ++i) set->labels.push_back(uint8_t(i % 10));
  return set;
}

Json measure(const char* name, std::shared_ptr<const ImageSet> images, Augmentation augmentation,
             int64_t batch, double seconds) {
  const std::vector<int32_t> indices = first_images(images->count());
  BatchLoader loader(std::move(images), indices, {.batch_size = batch, .augmentation = augmentation});
  for (int i = 0; i < 8; ++i) loader.next();
  const Stopwatch watch;
  int64_t loaded = 0;
  while (watch.seconds() < seconds) loaded += loader.next().count;
  const double rate = double(loaded) / watch.seconds();
  // A pixel is a byte, read and written.
  const double bytes = 3 * 32 * 32 * 2.;
  return {{"benchmark", name},
          {"batch", batch},
          {"images_per_s", rate},
          {"us_per_image", 1e6 / rate},
          {"gb_per_s", rate * bytes / 1e9}};
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t batch = argc > 1 ? std::atoll(argv[1]) : 64;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1;
  try {
    const auto images = random_images(10'000);
    const std::pair<const char*, Augmentation> cases[] = {
        {"loader/normalise", {}},
        {"loader/crop+flip", Augmentation::cifar()},
        {"loader/crop+flip+cutout", Augmentation::cifar(16)}};
    for (const auto& [name, augmentation] : cases)
      fmt::print("{}\n", to_json_line(measure(name, images, augmentation, batch, seconds)));
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
