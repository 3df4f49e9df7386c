#include "nas/data/augment.h"

#include "core/philox.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

// By the definition, pixel by pixel, in double.
std::vector<double> oracle(const std::vector<uint8_t>& in, int size, const Normalisation& n,
                           const Augmentation& a, const AugmentChoice& choice) {
  std::vector<double> out;
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < size; ++y)
      for (int x = 0; x < size; ++x) {
        const int half = a.cutout / 2;
        const bool cut = y >= choice.cut_y - half && y < choice.cut_y + half && x >= choice.cut_x - half &&
                         x < choice.cut_x + half;
        const int from_y = y + choice.dy, from_x = (choice.flip ? size - 1 - x : x) + choice.dx;
        const bool inside = from_y >= 0 && from_y < size && from_x >= 0 && from_x < size;
        const double pixel = inside ? in[size_t((c * size + from_y) * size + from_x)] / 255. : 0.;
        out.push_back(cut ? 0. : (pixel - double(n.mean[size_t(c)])) / double(n.deviation[size_t(c)]));
      }
  return out;
}

}  // namespace

TEST_CASE("augment: crop, flip, normalisation and cutout match the definition", "[nas][data]") {
  Random random(11);
  for (int size : {1, 2, 5, 32}) {
    std::vector<uint8_t> in(size_t(3 * size * size));
    for (uint8_t& p : in) p = uint8_t(random.bits());
    for (const Augmentation a :
         {Augmentation{}, Augmentation::cifar(), Augmentation::cifar(16), Augmentation{9, true, 5}})
      for (int64_t sample = 0; sample < 50; ++sample) {
        const AugmentChoice choice = choose_augmentation(a, size, 5, 2, sample);
        const std::vector<double> expected = oracle(in, size, kCifar10Normalisation, a, choice);
        std::vector<float> out(in.size(), 99.f);
        augment_image(in.data(), size, kCifar10Normalisation, a, choice, out.data());
        double worst = 0;
        for (size_t i = 0; i < out.size(); ++i)
          worst = std::max(worst, std::abs(double(out[i]) - expected[i]));
        CHECK(worst < 2e-6);  // values reach 2.3; a rounding of the product and one of the sum
      }
  }
}

TEST_CASE("augment: without augmentation the image is only normalised", "[nas][data]") {
  const std::vector<uint8_t> in = {0, 255, 51, 0, 0, 0, 102, 0, 0, 0, 0, 0};
  std::vector<float> out(12);
  augment_image(in.data(), 2, Normalisation{}, {}, choose_augmentation({}, 2, 1, 1, 1), out.data());
  CHECK(out[1] == Approx(1));
  CHECK(out[2] == Approx(0.2));
  CHECK(out[6] == Approx(0.4));
  CHECK(out[0] == 0);
}

TEST_CASE("augment: choices depend on seed, epoch and sample, and cover their range evenly", "[nas][data]") {
  const Augmentation a = Augmentation::cifar(16);
  constexpr int n = 9000;
  int dy[9] = {}, dx[9] = {}, flips = 0, flips_at_top = 0, cut_y[32] = {};
  for (int64_t i = 0; i < n; ++i) {
    const AugmentChoice c = choose_augmentation(a, 32, 1, 0, i);
    ++dy[c.dy + 4], ++dx[c.dx + 4], ++cut_y[c.cut_y];
    flips += c.flip;
    flips_at_top += c.flip && c.dy == -4;
  }
  // Five standard deviations: binomial(9000, 1/9) 149, (9000, 1/2) 237, (1000, 1/2) 79, (9000, 1/32) 83.
  for (int count : dy) CHECK(std::abs(count - n / 9) < 149);
  for (int count : dx) CHECK(std::abs(count - n / 9) < 149);
  for (int count : cut_y) CHECK(std::abs(count - n / 32) < 83);
  CHECK(std::abs(flips - n / 2) < 237);
  CHECK(std::abs(flips_at_top - dy[0] / 2) < 79);

  const auto differs = [&](uint64_t seed, int64_t epoch, int64_t first) {
    int different = 0;
    for (int64_t i = 0; i < 100; ++i) {
      const AugmentChoice p = choose_augmentation(a, 32, 1, 0, i),
                          q = choose_augmentation(a, 32, seed, epoch, first + i);
      different +=
          p.dy != q.dy || p.dx != q.dx || p.flip != q.flip || p.cut_y != q.cut_y || p.cut_x != q.cut_x;
    }
    return different;
  };
  CHECK(differs(1, 0, 0) == 0);
  CHECK(differs(2, 0, 0) > 90);
  CHECK(differs(1, 1, 0) > 90);
  CHECK(differs(1, 0, 100) > 90);
}
