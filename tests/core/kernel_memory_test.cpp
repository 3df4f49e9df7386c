// Which kernel was fastest is remembered in a file that several processes share.
#include "core/kernel_memory.h"

#include <thread>

#include "core/atomic_file.h"
#include "core/json_file.h"
#include "core/progress.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

struct Quiet {  // warnings are expected
  Quiet() { Progress::set_silent(true); }
  ~Quiet() { Progress::set_silent(false); }
};

}  // namespace

TEST_CASE("kernel memory: what was kept is found again, by machine and node, also by another process",
          "[kernels]") {
  const TempFolder folder;
  const auto file = folder.path() / "cache" / "kernels.json";  // the folder is made
  KernelMemory memory(file);
  CHECK_FALSE(memory.find("gpu", "conv2d"));
  memory.keep("gpu", "conv2d", {"cudnn gemm", {{"cudnn gemm", 3.5}, {"ladarts", 4.0}}});
  memory.save();
  KernelMemory other(file);
  const auto entry = other.find("gpu", "conv2d");
  REQUIRE(entry);
  CHECK(entry->kernel == "cudnn gemm");
  CHECK(entry->us.at("ladarts") == 4.0);
  CHECK_FALSE(other.find("another gpu", "conv2d"));
  CHECK_FALSE(other.find("gpu", "conv2d stride=2"));
}

TEST_CASE("kernel memory: writers at the same time lose nothing", "[kernels]") {
  const TempFolder folder;
  const auto file = folder.path() / "kernels.json";
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w)
    writers.emplace_back([&file, w] {
      KernelMemory memory(file);
      for (int i = 0; i < 5; ++i) {
        memory.keep("gpu", fmt::format("node {} of {}", i, w), {"ladarts", {}});
        memory.save();
      }
    });
  for (std::thread& t : writers) t.join();
  CHECK(read_json_file(file)["machines"]["gpu"].size() == 20);
}

TEST_CASE("kernel memory: a damaged file is as good as none, and is replaced", "[kernels]") {
  const Quiet quiet;
  const TempFolder folder;
  const auto file = folder.path() / "kernels.json";
  for (const char* damage :
       {"{\"format\": 1, \"mach", "", "[]", "{\"format\": 2, \"machines\": {}}",
        R"({"format": 1, "machines": {"gpu": {"n": {"kernel": 3, "us": {}}}}})",
        R"({"format": 1, "machines": {"gpu": {"n": {"kernel": "a", "us": {"a": "fast"}}}}})"}) {
    write_file_atomically(file, damage);
    INFO(damage);
    KernelMemory memory(file);
    CHECK_FALSE(memory.find("gpu", "n"));
    memory.keep("gpu", "n", {"ladarts", {{"ladarts", 1}}});
    memory.save();
    CHECK(KernelMemory(file).find("gpu", "n"));
  }
}

TEST_CASE("kernel memory: a place that cannot be written costs nothing but the memory", "[kernels]") {
  const Quiet quiet;
  const TempFolder folder;
  write_file_atomically(folder.path() / "file", "");
  KernelMemory memory(folder.path() / "file" / "kernels.json");
  memory.keep("gpu", "n", {"ladarts", {}});
  CHECK_NOTHROW(memory.save());
  CHECK(memory.find("gpu", "n"));
  KernelMemory nowhere({});
  nowhere.keep("gpu", "n", {"ladarts", {}});
  CHECK_NOTHROW(nowhere.save());
  CHECK(nowhere.find("gpu", "n"));
}
