#include "nas/data/synthetic.h"

#include <csignal>
#include <fstream>
#include <set>

#include "core/atomic_file.h"
#include "nas/data/cifar.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
namespace fs = std::filesystem;

namespace {

const SyntheticOptions kSmall{.train = 53, .test = 21, .size = 16, .seed = 3};

std::string all_bytes(const fs::path& folder) {
  std::string bytes;
  for (int b = 0; b < kCifarBatches; ++b) bytes += read_file(folder / cifar_batch_name(b));
  return bytes + read_file(folder / kCifarTestName);
}

}  // namespace

TEST_CASE("synthetic: can be read, is balanced, has no image twice", "[nas][data]") {
  TempFolder folder;
  write_synthetic(folder / "a/b", kSmall);
  const ImageSets sets = read_cifar(folder / "a/b");
  CHECK(sets.train.count() == 53);
  CHECK(sets.test.count() == 21);
  CHECK(sets.train.size == 16);
  CHECK(sets.train.classes[1] == "disc-falling");
  CHECK(sets.normalisation.mean != kCifar10Normalisation.mean);
  int per_class[10] = {};
  for (uint8_t label : sets.train.labels) ++per_class[label];
  for (int n : per_class) CHECK((n == 5 || n == 6));
  std::set<std::string> images;
  for (const ImageSet* set : {&sets.train, &sets.test})
    for (int64_t i = 0; i < set->count(); ++i)
      images.emplace(set->image(i), set->image(i) + set->image_bytes());
  CHECK(images.size() == 53 + 21);
}

TEST_CASE("synthetic: the seed fixes every byte", "[nas][data]") {
  TempFolder folder;
  SyntheticOptions other = kSmall;
  other.seed = 4;
  write_synthetic(folder / "a", kSmall);
  write_synthetic(folder / "b", kSmall);
  write_synthetic(folder / "c", other);
  CHECK(all_bytes(folder / "a") == all_bytes(folder / "b"));
  CHECK(all_bytes(folder / "a") != all_bytes(folder / "c"));
}

TEST_CASE("synthetic: a complete folder is left alone, a half-written or older one is written anew",
          "[nas][data]") {
  TempFolder folder;
  write_synthetic(folder.path(), kSmall);
  const std::string bytes = all_bytes(folder.path());
  const auto time = fs::last_write_time(folder / kCifarTestName);
  write_synthetic(folder.path(), kSmall);
  CHECK(fs::last_write_time(folder / kCifarTestName) == time);

  {
    FileSizeLimit limit(10'000);
    SyntheticOptions larger = kSmall;
    larger.train = 500;
    CHECK_THROWS_AS(write_synthetic(folder.path(), larger), Error);
  }
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("is not complete"));
  write_synthetic(folder.path(), kSmall);
  CHECK(all_bytes(folder.path()) == bytes);
  CHECK(read_cifar(folder.path()).train.count() == 53);

  fs::remove(folder / "data_batch_4.bin");
  write_synthetic(folder.path(), kSmall);
  CHECK(all_bytes(folder.path()) == bytes);
}

TEST_CASE("synthetic: other people's images are not overwritten", "[nas][data]") {
  TempFolder folder;
  std::ofstream(folder / "data_batch_1.bin") << "precious";
  CHECK_THROWS_WITH(write_synthetic(folder.path(), kSmall),
                    ContainsSubstring("not written by this generator"));
  std::ofstream(folder / "image_set.json") << R"({"size": 16})";
  CHECK_THROWS_WITH(write_synthetic(folder.path(), kSmall),
                    ContainsSubstring("not written by this generator"));
  CHECK(read_file(folder / "data_batch_1.bin") == "precious");
}

TEST_CASE("synthetic: impossible options are refused before anything is written", "[nas][data]") {
  TempFolder folder;
  CHECK_THROWS_WITH(write_synthetic(folder / "a", {.train = 4}),
                    ContainsSubstring("4 training images; 5 to"));
  CHECK_THROWS_WITH(write_synthetic(folder / "a", {.test = 0}), ContainsSubstring("0 test images"));
  CHECK_THROWS_WITH(write_synthetic(folder / "a", {.size = 7}), ContainsSubstring("7 pixels a side"));
  CHECK_THROWS_WITH(write_synthetic(folder / "a", {.noise = -1}), ContainsSubstring("noise of -1"));
  CHECK(!fs::exists(folder / "a"));
}
