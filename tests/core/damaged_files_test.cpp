// Whatever was done to a file, reading it succeeds or throws Error; it never crashes, nor ends in an
// exception that is not meant for users.
#include "core/atomic_file.h"
#include "core/jsonl_log.h"
#include "core/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/mutate.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

// How many of `rounds` damaged copies of `bytes` read() refuses; any exception but Error fails the test.
template <class F>
int refused(const std::string& bytes, int rounds, F&& read) {
  TempFolder folder;
  const std::string path = folder / "damaged";
  Random random(17);
  int count = 0;
  for (int i = 0; i < rounds; ++i) {
    write_plain(path, mutate(bytes, random));
    try {
      read(path);
    } catch (const Error& e) {
      ++count;
      REQUIRE(std::string(e.what()).find("damaged") != std::string::npos);  // names the file
    }
  }
  return count;
}

}  // namespace

TEST_CASE("damaged safetensors: read or refused", "[core][safetensors][damaged]") {
  TempFolder folder;
  const TensorFile file{{{"conv.weight", {{4, 3, 1, 1}, std::vector<float>(12, 1.f)}},
                         {"labels", {{5}, std::vector<int32_t>(5, 7)}},
                         {"scalar", {{}, std::vector<float>{2.f}}}},
                        {{"epoch", "12"}, {"unit", "ms"}}};
  save_tensors(folder / "whole", file);
  const int count = refused(read_file(folder / "whole"), 4000, [](const std::string& path) {
    for (const auto& [name, tensor] : load_tensors(path).tensors)
      std::visit([&](const auto& v) { REQUIRE(int64_t(v.size()) == tensor.shape.elements()); },
                 tensor.values);
  });
  CHECK(count > 3000);  // some damage falls into values, metadata or names
}

TEST_CASE("damaged JSON: read or refused", "[core][json][damaged]") {
  const std::string text =
      R"({"stages": [16, 32, 64], "name": "dart\u0073", "rate": 2.5e-2, "deep": {"a": [null, true]}})";
  CHECK(refused(text, 4000, [](const std::string& path) { to_json_line(read_json_file(path)); }) > 3000);
}

TEST_CASE("damaged JSON-lines log: read or refused; opening keeps it appendable", "[core][log][damaged]") {
  std::string text;
  for (int i = 0; i < 6; ++i) text += to_json_line({{"epoch", i}, {"loss", 0.5 / (i + 1)}}) + "\n";
  const int count = refused(text, 2000, [](const std::string& path) {
    size_t size = 0;
    {
      JsonlLog log(path);
      log.append({{"epoch", "last"}});
      size = log.size();
    }
    const std::vector<Json> records = read_jsonl(path);
    REQUIRE(records.size() == size);
    REQUIRE(records.back()["epoch"] == "last");
  });
  CHECK(count > 1000);
  CHECK(count < 2000);
}
