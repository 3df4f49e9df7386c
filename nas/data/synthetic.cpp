#include "nas/data/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/atomic_file.h"
#include "core/interrupt.h"
#include "core/json_file.h"
#include "core/philox.h"
#include "nas/data/cifar.h"
#include "nas/data/random_streams.h"

namespace ladarts {

namespace fs = std::filesystem;

namespace {

constexpr int kClasses = 10;
constexpr std::array<const char*, kClasses> kNames = {
    "disc-rising",      "disc-falling", "square-rising", "square-falling", "triangle-rising",
    "triangle-falling", "cross-rising", "cross-falling", "ring-rising",    "ring-falling"};
constexpr int kVersion = 1;  // of the images that a seed stands for

using Colour = std::array<float, kImageChannels>;

// Signed distance to the border of a shape around the origin, negative inside; x to the right, y down, in
// units of the shape's radius.
float distance(int shape, float x, float y) {
  const float ax = std::abs(x), ay = std::abs(y);
  switch (shape) {
    case 0:  // disc
      return std::hypot(x, y) - 0.9f;
    case 1:  // square
      return std::max(ax, ay) - 0.8f;
    case 2:  // triangle, point up
      return std::max(0.894f * ax + 0.447f * y - 0.447f, y - 0.8f);
    case 3:  // cross
      return std::max(std::max(ax, ay) - 1.f, std::min(ax, ay) - 0.3f);
    default:  // ring
      return std::abs(std::hypot(x, y) - 0.75f) - 0.25f;
  }
}

Colour random_colour(Random& random, float low, float high) {
  Colour colour;
  for (float& c : colour) c = random.uniform(low, high);
  return colour;
}

// What varies from image to image of a class.
struct Scene {
  float x, y, radius;               // pixels
  float stripe_x, stripe_y, phase;  // radians per pixel, radians
  Colour shape, stripe, background, slope;
};

Scene random_scene(int label, int size, Random& random) {
  Scene s;
  const float side = float(size);
  s.radius = side * random.uniform(0.22f, 0.34f);
  s.x = random.uniform(s.radius, side - s.radius);
  s.y = random.uniform(s.radius, side - s.radius);
  const bool rising = label % 2 == 0;
  const float angle = random.uniform(-0.25f, 0.25f) + 0.78539816f;
  const float per_pixel = 6.2831853f / (side * random.uniform(0.13f, 0.19f));
  s.stripe_x = per_pixel * std::cos(angle);
  s.stripe_y = per_pixel * std::sin(angle) * (rising ? 1.f : -1.f);
  s.phase = random.uniform(0.f, 6.2831853f);
  s.shape = random_colour(random, 0.55f, 1.f);
  s.stripe = random_colour(random, 0.05f, 0.45f);
  s.background = random_colour(random, 0.1f, 0.6f);
  s.slope = random_colour(random, -0.25f, 0.25f);
  return s;
}

Json describe(const SyntheticOptions& options, bool complete) {
  return {{"size", options.size},
          {"complete", complete},
          {"generator",
           {{"name", "ladarts synthetic"},
            {"version", kVersion},
            {"train", options.train},
            {"test", options.test},
            {"noise", options.noise},
            {"seed", options.seed}}}};
}

std::vector<std::string> written_files() {
  std::vector<std::string> names;
  for (int i = 0; i < kCifarBatches; ++i) names.push_back(cifar_batch_name(i));
  names.insert(names.end(), {kCifarTestName, kCifarClassesName});
  return names;
}

// Whether the folder holds what `options` ask for already. Throws Error if it holds somebody else's images.
bool is_there(const fs::path& folder, const SyntheticOptions& options) {
  bool any = false, all = true;
  for (const std::string& name : written_files()) {
    const bool exists = fs::exists(folder / name);
    any |= exists, all &= exists;
  }
  const fs::path path = folder / kImageSetName;
  const Json description = fs::exists(path) ? read_json_file(path) : Json::object();
  require(!any || description.contains("generator"),
          "[data] '{}' holds images that were not written by this generator; choose another folder",
          folder.string());
  return all && description == describe(options, true);
}

// `each` is called for every image and says whether to go on.
bool write_records(const fs::path& path, int64_t begin, int64_t end, RandomUse use,
                   const SyntheticOptions& options, const std::function<bool()>& each) {
  const size_t image_bytes = size_t(kImageChannels) * size_t(options.size) * size_t(options.size);
  std::vector<uint8_t> record(1 + image_bytes);
  AtomicFile file(path);
  for (int64_t i = begin; i < end; ++i) {
    record[0] = uint8_t(i % kClasses);
    draw_synthetic(record[0], options, random_stream(use, uint64_t(i)), record.data() + 1);
    file.write(record.data(), record.size());
    if (!each()) return false;
  }
  file.commit();
  return true;
}

void check(const SyntheticOptions& o) {
  constexpr int64_t kMost = 1'000'000;
  require(o.train >= kCifarBatches && o.train <= kMost, "[data] {} training images; {} to {} are possible",
          o.train, kCifarBatches, kMost);
  require(o.test >= 1 && o.test <= kMost, "[data] {} test images; 1 to {} are possible", o.test, kMost);
  require(o.size >= 8 && o.size <= 256, "[data] images of {} pixels a side; 8 to 256 are possible", o.size);
  require(o.noise >= 0 && o.noise <= 1, "[data] noise of {}; 0 to 1 is possible", o.noise);
}

}  // namespace

void draw_synthetic(int label, const SyntheticOptions& options, uint64_t stream, uint8_t* out) {
  Random random(options.seed, stream);
  const int size = options.size;
  const Scene s = random_scene(label, size, random);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const float dx = float(x) + 0.5f - s.x, dy = float(y) + 0.5f - s.y;
      // One pixel wide transition at the border.
      const float inside =
          std::clamp(0.5f - s.radius * distance(label / 2, dx / s.radius, dy / s.radius), 0.f, 1.f);
      const float stripe = 0.5f + 0.5f * std::sin(s.stripe_x * dx + s.stripe_y * dy + s.phase);
      const float across = (float(x) + float(y)) / float(2 * size) - 0.5f;
      for (int c = 0; c < kImageChannels; ++c) {
        const float shape = s.shape[c] + (s.stripe[c] - s.shape[c]) * stripe;
        const float behind = s.background[c] + s.slope[c] * across;
        const float value = behind + (shape - behind) * inside + options.noise * random.normal();
        out[(c * size + y) * size + x] = uint8_t(std::clamp(std::lround(255.f * value), 0l, 255l));
      }
    }
  }
}

bool write_synthetic(const fs::path& folder, const SyntheticOptions& options,
                     const std::function<void(int64_t images)>& progress) {
  check(options);
  create_folder(folder);
  if (is_there(folder, options)) return true;
  int64_t done = 0;
  const auto each = [&] {
    ++done;
    if (progress) progress(done);
    return !interrupted();
  };
  // Whoever reads the folder before the end is told that it is not complete.
  write_json_file(folder / kImageSetName, describe(options, false));
  std::string names;
  for (const char* name : kNames) names += std::string(name) + "\n";
  write_file_atomically(folder / kCifarClassesName, names);
  for (int b = 0; b < kCifarBatches; ++b)
    if (!write_records(folder / cifar_batch_name(b), options.train * b / kCifarBatches,
                       options.train * (b + 1) / kCifarBatches, RandomUse::synthetic_train, options, each))
      return false;
  if (!write_records(folder / kCifarTestName, 0, options.test, RandomUse::synthetic_test, options, each))
    return false;
  write_json_file(folder / kImageSetName, describe(options, true));
  return true;
}

}  // namespace ladarts
