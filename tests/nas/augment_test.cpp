#include "nas/data/augment.h"

#include "core/philox.h"
#include "tests/support/catch.h"

using namespace ladarts;

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
