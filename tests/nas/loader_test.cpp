#include "nas/data/loader.h"

#include <atomic>
#include <chrono>
#include <set>

#include "core/error.h"
#include "core/philox.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

// Image i is filled with the byte i; its label is i mod 10.
std::shared_ptr<const ImageSet> numbered(int n, int size = 4) {
  auto set = std::make_shared<ImageSet>();
  set->size = size;
  set->classes.assign(10, "class");
  for (int i = 0; i < n; ++i) {
    set->labels.push_back(uint8_t(i % 10));
    set->images.insert(set->images.end(), set->image_bytes(), uint8_t(i));
  }
  return set;
}

// A batch by value.
struct Copy {
  int64_t epoch, index, count;
  std::vector<uint8_t> images;
  std::vector<int32_t> choices, labels;
  bool operator==(const Copy&) const = default;
};

Copy take(BatchLoader& loader) {
  const Batch b = loader.next();
  Copy copy{
      b.epoch, b.index, b.count, {b.images.begin(), b.images.end()}, {}, {b.labels.begin(), b.labels.end()}};
  for (const AugmentChoice& c : b.choices)
    copy.choices.insert(copy.choices.end(), {c.dy, c.dx, c.flip, c.cut_y, c.cut_x});
  return copy;
}

// Which images of numbered() a batch holds.
std::vector<int> members(const Copy& batch) {
  std::vector<int> result;
  const size_t stride = batch.images.size() / batch.labels.size();
  for (int64_t row = 0; row < batch.count; ++row) result.push_back(int(batch.images[size_t(row) * stride]));
  return result;
}

}  // namespace

TEST_CASE("loader: every epoch hands out each sample once, in an order of its own", "[nas][data]") {
  BatchLoader loader(numbered(20), first_images(20), {.batch_size = 5, .seed = 1});
  REQUIRE(loader.batches_per_epoch() == 4);
  std::vector<std::vector<int>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<int> order;
    for (int i = 0; i < 4; ++i) {
      const Copy batch = take(loader);
      CHECK(batch.epoch == epoch);
      CHECK(batch.index == i);
      CHECK(batch.count == 5);
      for (size_t row = 0; row < 5; ++row) {
        order.push_back(members(batch)[row]);
        CHECK(batch.labels[row] == order.back() % 10);
      }
    }
    CHECK(std::set<int>(order.begin(), order.end()).size() == 20);
    orders.push_back(order);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
}

TEST_CASE("loader: the same seed gives the same bits, for any number of batches ahead", "[nas][data]") {
  const LoaderOptions options{.batch_size = 6, .augmentation = {2, true, 2}, .seed = 4};
  LoaderOptions further = options, other = options;
  further.batches_ahead = 5;
  other.seed = 5;
  BatchLoader a(numbered(40), first_images(40), options), b(numbered(40), first_images(40), further),
      c(numbered(40), first_images(40), other);
  int different = 0;
  for (int i = 0; i < 20; ++i) {
    const Copy batch = take(a);
    CHECK(batch == take(b));
    different += !(batch == take(c));
  }
  CHECK(different == 20);
}

TEST_CASE("loader: after seek it continues bit for bit", "[nas][data]") {
  const LoaderOptions options{.batch_size = 7, .augmentation = {1, true, 0}, .seed = 9};
  BatchLoader straight(numbered(30), first_images(30), options);
  std::vector<Copy> batches;
  for (int i = 0; i < 24; ++i) batches.push_back(take(straight));
  BatchLoader resumed(numbered(30), first_images(30), options);
  Random random(2);
  for (int trial = 0; trial < 50; ++trial) {
    const int from = int(random.below(22));
    resumed.seek(from / 4, from % 4);
    for (int i = from; i < std::min(from + int(random.below(4)), 24); ++i)
      CHECK(take(resumed) == batches[size_t(i)]);
  }
  CHECK_THROWS_WITH(resumed.seek(0, 4), ContainsSubstring("batch 4 does not exist; an epoch has 4"));
  CHECK_THROWS_AS(resumed.seek(-1, 0), Error);
}

TEST_CASE("loader: an incomplete last batch is dropped, or padded", "[nas][data]") {
  BatchLoader dropping(numbered(11), first_images(11), {.batch_size = 4});
  CHECK(dropping.batches_per_epoch() == 2);
  CHECK(dropping.samples_per_epoch() == 8);

  BatchLoader padding(numbered(11), first_images(11),
                      {.batch_size = 4, .shuffle = false, .drop_last = false});
  CHECK(padding.batches_per_epoch() == 3);
  CHECK(padding.samples_per_epoch() == 11);
  CHECK(members(take(padding)) == std::vector<int>{0, 1, 2, 3});
  take(padding);
  const Copy last = take(padding);
  CHECK(last.count == 3);
  CHECK(members(last) == std::vector<int>{8, 9, 10});
  CHECK(last.labels == std::vector<int32_t>{8, 9, 0, kPaddingLabel});
  for (size_t i = last.images.size() * 3 / 4; i < last.images.size(); ++i) CHECK(last.images[i] == 0);
  // The slot that held the padding is filled whole again.
  for (int i = 0; i < 6; ++i) CHECK(members(take(padding)).size() == (i % 3 == 2 ? 3u : 4u));
}

TEST_CASE("loader: only the given images are drawn, also more images than one batch holds", "[nas][data]") {
  const auto [first, second] = split_indices(first_images(30), 0.5, 1);
  BatchLoader loader(numbered(30), first, {.batch_size = 5});
  const std::set<int> allowed(first.begin(), first.end());
  for (int i = 0; i < 9; ++i)
    for (int image : members(take(loader))) CHECK(allowed.contains(image));
}

TEST_CASE("loader: impossible options are refused", "[nas][data]") {
  const auto make = [](std::vector<int32_t> indices, LoaderOptions options) {
    BatchLoader(numbered(10), std::move(indices), options);
  };
  CHECK_THROWS_WITH(make(first_images(10), {.batch_size = 11}),
                    ContainsSubstring("a batch of 11 needs as many"));
  CHECK_THROWS_WITH(make(first_images(10), {.batch_size = 0}), ContainsSubstring("batch size is 0"));
  CHECK_THROWS_WITH(make({}, {.batch_size = 1}), ContainsSubstring("no images"));
  CHECK_THROWS_WITH(make({3, 10}, {.batch_size = 1}),
                    ContainsSubstring("image 10 was asked for, the set has 10"));
  CHECK_THROWS_WITH(make({3, -1}, {.batch_size = 1}), ContainsSubstring("image -1"));
  CHECK_THROWS_WITH(make({3}, {.batch_size = 1, .batches_ahead = 0}), ContainsSubstring("ahead"));
  CHECK_THROWS_WITH(make({3}, {.batch_size = 1, .augmentation = {-1, false, 0}}),
                    ContainsSubstring("not be negative"));
}

TEST_CASE("prefetcher: an error of the thread surfaces where its slot would have been", "[nas][data]") {
  Prefetcher<int64_t> prefetcher(4, [](int64_t position, int64_t& slot) {
    require(position != 5, "position {} is bad", position);
    slot = 10 * position;
  });
  for (int i = 0; i < 5; ++i) CHECK(prefetcher.next() == 10 * i);
  CHECK_THROWS_WITH(prefetcher.next(), "position 5 is bad");
  CHECK_THROWS_WITH(prefetcher.next(), "position 5 is bad");
  prefetcher.seek(6);
  CHECK(prefetcher.next() == 60);
  prefetcher.seek(5);
  CHECK_THROWS_WITH(prefetcher.next(), "position 5 is bad");
}

TEST_CASE("prefetcher: never overwrites the slot in hand, and works ahead no further than its ring",
          "[nas][data]") {
  std::atomic<int64_t> furthest{-1};
  Prefetcher<int64_t> prefetcher(3, [&](int64_t position, int64_t& slot) {
    slot = position;
    furthest = position;
  });
  for (int64_t i = 0; i < 2000; ++i) {
    const int64_t& slot = prefetcher.next();
    CHECK(slot == i);
    if (i % 500 == 0) {
      while (furthest < i + 2) std::this_thread::yield();  // ends only if the thread does run ahead
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    CHECK(furthest <= i + 2);
    CHECK(slot == i);
  }
}

TEST_CASE("prefetcher: can be destroyed at any moment", "[nas][data]") {
  for (int taken = 0; taken < 100; ++taken) {
    Prefetcher<std::vector<int>> prefetcher(
        2, [](int64_t position, std::vector<int>& slot) { slot.assign(100, int(position)); });
    for (int i = 0; i < taken % 4; ++i) CHECK(prefetcher.next()[99] == i);
    if (taken % 3 == 0) prefetcher.seek(taken);
  }
}
