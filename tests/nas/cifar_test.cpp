#include "nas/data/cifar.h"

#include <fstream>

#include "core/atomic_file.h"
#include "core/philox.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
namespace fs = std::filesystem;

namespace {

constexpr size_t kPixels = 3 * 32 * 32;

// A record whose pixel k is (first + k) mod 256.
std::string record(std::initializer_list<int> labels, int first) {
  std::string bytes;
  for (int label : labels) bytes += char(label);
  for (size_t k = 0; k < kPixels; ++k) bytes += char((size_t(first) + k) % 256);
  return bytes;
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Two records in each training file, labels 0..9; three in the test file.
void write_cifar10(const fs::path& folder) {
  for (int b = 0; b < 5; ++b)
    write(folder / cifar_batch_name(b), record({2 * b}, b) + record({2 * b + 1}, b + 100));
  write(folder / "test_batch.bin", record({9}, 1) + record({0}, 2) + record({5}, 3));
  write(folder / "batches.meta.txt",
        "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
}

}  // namespace

TEST_CASE("cifar: reads CIFAR-10 in the order of its files", "[nas][data]") {
  TempFolder folder;
  write_cifar10(folder.path());
  const ImageSets sets = read_cifar(folder.path());
  CHECK(sets.train.count() == 10);
  CHECK(sets.test.labels == std::vector<uint8_t>{9, 0, 5});
  CHECK(sets.train.labels == std::vector<uint8_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(sets.train.classes[9] == "truck");
  CHECK(sets.train.image(3)[0] == 101);
  CHECK(sets.train.image(3)[kPixels - 1] == (101 + kPixels - 1) % 256);
  CHECK(sets.normalisation.mean == kCifar10Normalisation.mean);
}

TEST_CASE("cifar: reads CIFAR-100 with fine labels, and measures its normalisation", "[nas][data]") {
  TempFolder folder;
  std::string bytes = record({19, 99}, 0);
  bytes.replace(2, 1024, std::string(1024, char(51)));              // red: all 0.2
  bytes.replace(2 + 1024, 512, std::string(512, char(0)));          // green: half 0 ..
  bytes.replace(2 + 1024 + 512, 512, std::string(512, char(255)));  // .. half 1
  write(folder / "train.bin", bytes);
  write(folder / "test.bin", record({0, 7}, 5));
  const ImageSets sets = read_cifar(folder.path());
  CHECK(sets.train.labels == std::vector<uint8_t>{99});
  CHECK(sets.test.labels == std::vector<uint8_t>{7});
  CHECK(sets.train.classes.size() == 100);
  CHECK(sets.normalisation.mean[0] == Approx(0.2));
  CHECK(sets.normalisation.deviation[0] == Approx(1 / 255.));  // the least, where nothing varies
  CHECK(sets.normalisation.mean[1] == Approx(0.5));
  CHECK(sets.normalisation.deviation[1] == Approx(0.5));
}

TEST_CASE("cifar: another image size is read as image_set.json says", "[nas][data]") {
  TempFolder folder;
  const std::string one = std::string(1, '\2') + std::string(3 * 8 * 8, '\7');
  for (int b = 0; b < 5; ++b) write(folder / cifar_batch_name(b), one);
  write(folder / "test_batch.bin", one + one);
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("for 32x32 images"));
  write(folder / "image_set.json", R"({"size": 8})");
  CHECK(read_cifar(folder.path()).test.count() == 2);
  write(folder / "image_set.json", R"({"size": 8, "complete": false})");
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("is not complete"));
  for (const char* size : {"0", "-3", "99999", "\"8\""}) {
    write(folder / "image_set.json", fmt::format(R"({{"size": {}}})", size));
    CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("image_set.json"));
  }
}

TEST_CASE("cifar: truncated, overlong, empty and mislabelled files are refused with name and offset",
          "[nas][data]") {
  TempFolder folder;
  write_cifar10(folder.path());
  const fs::path third = folder / "data_batch_3.bin";
  const std::string good = read_file(third);

  write(third, good.substr(0, good.size() - 1));
  CHECK_THROWS_WITH(read_cifar(folder.path()),
                    ContainsSubstring("data_batch_3.bin', offset 3073: 3072 bytes follow"));
  write(third, good + "x");
  CHECK_THROWS_WITH(read_cifar(folder.path()),
                    ContainsSubstring("data_batch_3.bin', offset 6146: 1 bytes follow"));
  write(third, "");
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("data_batch_3.bin' is empty"));
  write(third, record({4}, 0) + record({10}, 0));
  CHECK_THROWS_WITH(
      read_cifar(folder.path()),
      ContainsSubstring("data_batch_3.bin', offset 3073: label 10 is out of range, there are 10"));
  write(third, good);
  write(folder / "test_batch.bin", record({255}, 0));
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("test_batch.bin', offset 0: label 255"));
}

TEST_CASE("cifar: CIFAR-100 labels are both checked", "[nas][data]") {
  TempFolder folder;
  write(folder / "test.bin", record({0, 7}, 5));
  write(folder / "train.bin", record({3, 4}, 0) + record({20, 4}, 0));
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("train.bin', offset 3074: coarse label 20"));
  write(folder / "train.bin", record({3, 4}, 0) + record({19, 100}, 0));
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("train.bin', offset 3075: label 100"));
}

TEST_CASE("cifar: missing files and folders are named with a remedy", "[nas][data]") {
  TempFolder folder;
  CHECK_THROWS_WITH(read_cifar(folder / "none"), ContainsSubstring("none' does not exist; unpack"));
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("holds neither data_batch_1.bin"));
  write_cifar10(folder.path());
  CHECK_THROWS_WITH(read_cifar(folder / "test_batch.bin"), ContainsSubstring("is not a folder"));
  fs::remove(folder / "data_batch_2.bin");
  fs::remove(folder / "test_batch.bin");
  CHECK_THROWS_WITH(read_cifar(folder.path()),
                    ContainsSubstring("lacks data_batch_2.bin, test_batch.bin; unpack"));
}

TEST_CASE("cifar: class names bound the labels", "[nas][data]") {
  TempFolder folder;
  write_cifar10(folder.path());
  write(folder / "batches.meta.txt", "one\r\ntwo\r\n");
  CHECK_THROWS_WITH(read_cifar(folder.path()),
                    ContainsSubstring("data_batch_2.bin', offset 0: label 2 is out"));
  write(folder / "batches.meta.txt", "\n\n");
  CHECK_THROWS_WITH(read_cifar(folder.path()), ContainsSubstring("batches.meta.txt' names 0 classes"));
  fs::remove(folder / "batches.meta.txt");
  CHECK(read_cifar(folder.path()).train.classes[0] == "airplane");
}

TEST_CASE("split: halves are disjoint, complete and fixed by the seed", "[nas][data]") {
  const auto [a, b] = split_indices(first_images(1000, 501), 0.5, 7);
  CHECK(a.size() == 251);
  CHECK(b.size() == 250);
  std::vector<int32_t> all = a;
  all.insert(all.end(), b.begin(), b.end());
  CHECK(all != first_images(501));
  std::sort(all.begin(), all.end());
  CHECK(all == first_images(501));
  CHECK(split_indices(first_images(501), 0.5, 7).first == a);
  CHECK(split_indices(first_images(501), 0.5, 8).first != a);
  CHECK(split_indices(first_images(10), 1, 0).second.empty());
  CHECK_THROWS_WITH(first_images(10, 11), ContainsSubstring("11 images were asked for, the set has 10"));
  CHECK_THROWS_AS(split_indices(first_images(10), 1.5, 0), Error);
}

TEST_CASE("shuffle: every place is equally likely", "[nas][data]") {
  constexpr int n = 5, rounds = 20000;
  int seen[n][n] = {};
  for (int r = 0; r < rounds; ++r) {
    std::vector<int32_t> v = first_images(n);
    shuffle_indices(v, 3, uint64_t(r));
    for (int i = 0; i < n; ++i) ++seen[i][v[size_t(i)]];
  }
  // Five standard deviations of a binomial(20000, 1/5) are 283.
  for (auto& row : seen)
    for (int count : row) CHECK(std::abs(count - rounds / n) < 283);
}
