#include "core/safetensors.h"

#include <cstring>

#include "core/atomic_file.h"
#include "core/graph.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/mutate.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
namespace fs = std::filesystem;

namespace {

TensorFile sample() {
  return {{{"w", {{2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6}}},
           {"labels", {{2}, std::vector<int32_t>{-7, 8}}},
           {"scalar", {{}, std::vector<float>{0.5f}}},
           {"nothing", {{0, 4}, std::vector<float>{}}}},
          {{"unit", "ms"}, {"note", "\"quoted\" \xc3\xa9"}}};
}

std::string raw(const std::string& header, size_t data_bytes, int64_t claimed = -1) {
  const uint64_t length = claimed < 0 ? header.size() : uint64_t(claimed);
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

ParameterSet small_set(uint64_t seed, int64_t width = 3, const std::string& second = "b") {
  ParameterSet set(seed);
  Graph g;
  set.get(g, "a", {2, width}, Init::normal(1));
  set.get(g, second, {5}, Init::normal(1));
  return set;
}

}  // namespace

TEST_CASE("safetensors: round trip", "[core][safetensors]") {
  TempFolder folder;
  save_tensors(folder / "t", sample());
  const TensorFile read = load_tensors(folder / "t");
  CHECK(read.tensors == sample().tensors);
  CHECK(read.metadata == sample().metadata);
}

TEST_CASE("safetensors: the bytes are the format's", "[core][safetensors]") {
  TempFolder folder;
  save_tensors(folder / "t", {{{"w", {{2}, std::vector<float>{1.f, -2.f}}}}, {}});
  const std::string bytes = read_file(folder / "t");
  const std::string header = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  REQUIRE(bytes.size() == 8 + 56 + 8);
  CHECK(bytes.substr(0, 8) == std::string("\x38\0\0\0\0\0\0\0", 8));
  CHECK(bytes.substr(8, 56) == header + std::string(56 - header.size(), ' '));
  CHECK(bytes.substr(64) == std::string("\0\0\x80\x3f\0\0\0\xc0", 8));
}

TEST_CASE("safetensors: a file cut at any byte is refused with its name", "[core][safetensors]") {
  TempFolder folder;
  save_tensors(folder / "whole", sample());
  const std::string bytes = read_file(folder / "whole");
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    write_plain(folder / "cut", bytes.substr(0, cut));
    CHECK_THROWS_WITH(load_tensors(folder / "cut"), ContainsSubstring("cut: [safetensors]"));
  }
}

TEST_CASE("safetensors: headers that lie are refused", "[core][safetensors]") {
  TempFolder folder;
  const auto refused = [&](const std::string& bytes, const std::string& reason) {
    write_plain(folder / "t", bytes);
    CHECK_THROWS_WITH(load_tensors(folder / "t"),
                      ContainsSubstring("t: [safetensors]") && ContainsSubstring(reason));
  };
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  refused("", "0 bytes long");
  refused(raw("{}", 0, int64_t(1) << 62), "claims 4611686018427387904 bytes, the file has 2");
  refused(raw("{}", 0, -1).substr(0, 9), "claims 2 bytes, the file has 1");
  refused(raw("[]", 0), "the header at offset 8 is not a JSON object");
  refused(raw("{,}", 0), "header:1:2: [json]");
  refused(raw("{}", 4), "4 bytes at offset 10 belong to no tensor");
  refused(raw(entry("F16", "[2]", "[0,4]"), 4), "type F16 is not supported");
  refused(raw(entry("F32", "[2]", "[0,4]"), 4), "shape (2) needs 8 bytes, its offsets give 4");
  refused(raw(entry("F32", "[2]", "[0,8]"), 4), "not inside the 4 bytes of data");
  refused(raw(entry("F32", "[1]", "[8,4]"), 8), "not inside the 8 bytes of data");
  refused(raw(entry("F32", "[1]", "[4,8]"), 8), "'w' begins at byte 66 of the file, expected 62");
  refused(raw(entry("F32", "[-1]", "[0,4]"), 4), "whole numbers, not negative");
  refused(raw(entry("F32", "[1,1,1,1,1,1]", "[0,4]"), 4), "rank 6 is above");
  refused(raw(entry("F32", "[4294967296,4294967296]", "[0,4]"), 4), "the shape is too large");
  refused(raw(entry("F32", "[4611686018427387904,4]", "[0,0]"), 0), "the shape is too large");
  refused(raw(entry("F32", "4", "[0,4]"), 4), "'shape' should be a list");
  refused(raw(entry("F32", "[1]", "[0]"), 4), "should hold two numbers");
  refused(raw(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4), "unknown field 'x'");
  refused(raw(R"({"w":{"dtype":"F32","shape":[1]}})", 4), "'data_offsets' is missing");
  refused(raw(R"({"w":3})", 0), "expected an object, found a number");
  refused(raw(R"({"__metadata__":{"a":1}})", 0), "'a' has the wrong type");
  // Two tensors over the same bytes, which would leave the rest of the file unread.
  refused(raw(R"({"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
              R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
              4),
          "'w' begins at byte");
}

TEST_CASE("safetensors: parameters return bit for bit, with their metadata", "[core][safetensors]") {
  TempFolder folder;
  ParameterSet saved = small_set(1), state = small_set(2, 3, "c");
  Graph g;
  ParameterSet other(9);
  other.get(g, "d", {4}, Init::normal(1));
  save_parameters(folder / "p", {&saved, &other}, {{"epoch", "3"}});

  ParameterSet loaded = small_set(5), loaded_other(6);
  loaded_other.get(g, "d", {4}, Init::normal(1));
  CHECK(loaded.values().to_vector() != saved.values().to_vector());
  CHECK(load_parameters(folder / "p", {&loaded, &loaded_other}) ==
        std::map<std::string, std::string>{{"epoch", "3"}});
  CHECK(loaded.values().to_vector() == saved.values().to_vector());
  CHECK(loaded_other.values().to_vector() == other.values().to_vector());
  CHECK_THROWS_WITH(save_parameters(folder / "q", {&saved, &state}),
                    ContainsSubstring("two values are named 'a'"));
  CHECK(!fs::exists(folder / "q"));
}

TEST_CASE("safetensors: parameters of another network are listed, and nothing is loaded",
          "[core][safetensors]") {
  TempFolder folder;
  ParameterSet saved = small_set(1);
  save_parameters(folder / "p", {&saved});
  ParameterSet other = small_set(2, 4, "c");
  const std::vector<float> before = other.values().to_vector();
  CHECK_THROWS_WITH(load_parameters(folder / "p", {&other}),
                    ContainsSubstring("a is f32 (2, 3) in the file, f32 (2, 4) here; missing c; unknown b"));
  CHECK(other.values().to_vector() == before);
}

TEST_CASE("safetensors: storages of both types; a type that differs is refused", "[core][safetensors]") {
  TempFolder folder;
  Storage i = Storage::create({2}, DType::i32), f = Storage::create({2});
  i.upload(std::vector<int32_t>{3, -4});
  save_storages(folder / "s", {{"i", i}, {"f", f}});
  Storage j = Storage::create({2}, DType::i32);
  load_storages(folder / "s", {{"i", j}, {"f", f}});
  std::vector<int32_t> values(2);
  j.download(values);
  CHECK(values == std::vector<int32_t>{3, -4});
  CHECK_THROWS_WITH(load_storages(folder / "s", {{"i", f}, {"f", f}}),
                    ContainsSubstring("i is i32 (2) in the file, f32 (2) here"));
}

TEST_CASE("safetensors: an optimiser's state returns to parameters declared in another order",
          "[core][safetensors]") {
  TempFolder folder;
  Graph g;
  ParameterSet first, second;
  for (ParameterSet* set : {&first, &second})
    for (const char* name : {"a", "b"}) {
      const bool small = (name[0] == 'a') == (set == &first);  // which of the two comes first
      set->get(g, small ? "a" : "b", {small ? 3 : 5}, Init::constant(0));
    }
  const Storage kept = Storage::create(first.values().shape()), read = Storage::create(kept.shape());
  std::vector<float> values(size_t(kept.shape().elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i);
  kept.upload(std::span<const float>(values));

  save_storages(folder / "state", named_slices(first, kept, "momentum."));
  load_storages(folder / "state", named_slices(second, read, "momentum."));
  const size_t line = 16;  // floats that slices are padded to
  const std::vector<float> moved = read.to_vector();
  CHECK(std::vector<float>(moved.begin(), moved.begin() + 5) ==
        std::vector<float>(values.begin() + line, values.begin() + line + 5));
  CHECK(std::vector<float>(moved.begin() + line, moved.begin() + line + 3) ==
        std::vector<float>(values.begin(), values.begin() + 3));
}

TEST_CASE("safetensors: a full disk leaves the old file", "[core][safetensors]") {
  TempFolder folder;
  save_tensors(folder / "t", sample());
  TensorFile big = sample();
  big.tensors["w"] = {{100'000}, std::vector<float>(100'000)};
  {
    FileSizeLimit limit(10'000);
    CHECK_THROWS_AS(save_tensors(folder / "t", big), Error);
  }
  CHECK(load_tensors(folder / "t").tensors == sample().tensors);
}
