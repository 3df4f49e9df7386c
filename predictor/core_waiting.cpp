#include "predictor/core_waiting.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/error.h"

namespace ladarts {

CoreWaiting::CoreWaiting() {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) try {
      threads_.push_back(std::make_unique<FileDescriptor>(task.path() / "schedstat", O_RDONLY));
    } catch (const Error&) {
      threads_.clear();  // not of all: then of none
      return;
    }
}

double CoreWaiting::seconds() const {
  int64_t nanoseconds = 0;
  for (const auto& thread : threads_) {
    char text[96];  // "nanoseconds on a core, nanoseconds waiting for one, number of turns"
    const ssize_t n = ::pread(thread->get(), text, sizeof(text) - 1, 0);
    if (n <= 0) continue;  // a thread that has ended
    text[n] = 0;
    char* waiting = nullptr;
    std::strtoll(text, &waiting, 10);
    nanoseconds += std::strtoll(waiting, nullptr, 10);
  }
  return double(nanoseconds) * 1e-9;
}

}  // namespace ladarts
