#include "ops/augment.h"

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// The definition, pixel by pixel. Choices are drawn from `lowest` on: shifts of both signs, and in between
// squares that lie inside, across a border and outside.
OpCase augment_case(Shape images, int cutout, int lowest, int choices) {
  const AugmentDesc desc{{.49f, .48f, .45f}, {.25f, .24f, .26f}, cutout};
  return {
      .name = fmt::format("augment {} cutout {} choices from {}", images.str(), cutout, lowest),
      .inputs = {{.shape = images, .bytes = true},
                 {.shape = Shape{images[0], kAugmentChoiceWords}, .labels = choices, .lowest = lowest}},
      .record = [=](Graph&, const std::vector<Tensor>& x) { return std::vector{augment(x[0], x[1], desc)}; },
      .oracle =
          [=](const std::vector<Array>& x) {
            Array out(images);
            for (int64_t n = 0; n < images[0]; ++n) {
              const double *choice = &x[1].v[size_t(n * kAugmentChoiceWords)], half = cutout / 2;
              const double dy = choice[0], dx = choice[1], cut_y = choice[3], cut_x = choice[4];
              for (int64_t c = 0; c < 3; ++c)
                for (int64_t h = 0; h < images[2]; ++h)
                  for (int64_t w = 0; w < images[3]; ++w) {
                    const bool cut = double(h) >= cut_y - half && double(h) < cut_y + half &&
                                     double(w) >= cut_x - half && double(w) < cut_x + half;
                    const int64_t column = choice[2] != 0 ? images[3] - 1 - w : w;
                    const double pixel = x[0].padded(n, c, h + int64_t(dy), column + int64_t(dx)) / 255;
                    out.at(n, c, h, w) =
                        cut ? 0 : (pixel - double(desc.mean[size_t(c)])) / double(desc.deviation[size_t(c)]);
                  }
            }
            return std::vector{out};
          },
      .rtol = 2e-6,
      .atol = 2e-6,
      .gradients = false};
}

}  // namespace

TEST_CASE("augment: crop, flip, normalisation and cutout by definition", "[ops][augment]") {
  check(augment_case({4, 3, 8, 8}, 0, 0, 1));  // no choice at all: normalised
  check(augment_case({9, 3, 32, 32}, 16, -4, 9));
  check(augment_case({8, 3, 5, 9}, 5, -2, 9));
  check(augment_case({4, 3, 1, 1}, 2, -1, 3));
  check(augment_case({16, 3, 4, 4}, 3, -9, 19));  // shifted out of sight
  check(augment_case({70, 3, 32, 32}, 16, -4, 9));
}

TEST_CASE("augment: what does not fit is refused", "[ops][augment]") {
  Graph g;
  const Tensor images = g.leaf(Storage::create({2, 3, 4, 4}, DType::u8));
  const Tensor choices = g.leaf(Storage::create({2, 5}, DType::i32));
  CHECK_THROWS_WITH(augment(g.leaf(Storage::create({2, 3, 4, 4})), choices, {}),
                    ContainsSubstring("images should be bytes"));
  CHECK_THROWS_WITH(augment(images, g.leaf(Storage::create({3, 5}, DType::i32)), {}),
                    ContainsSubstring("shape (2, 5)"));
  CHECK_THROWS_WITH(augment(images, choices, {.cutout = -1}), ContainsSubstring("cutout is -1"));
  CHECK_THROWS_WITH(augment(images, choices, {.deviation = {1, 0, 1}}), ContainsSubstring("deviation is 0"));
}
