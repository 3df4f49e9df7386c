#include "predictor/run_queue.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

namespace ladarts {

RunQueue::RunQueue() {
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/task", error), end; !error && it != end;
       it.increment(error)) {
    const int fd = ::open((it->path() / "schedstat").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) files_.push_back(fd);
  }
}

RunQueue::~RunQueue() {
  for (const int fd : files_) ::close(fd);
}

double RunQueue::waited_s() const {
  double total_ns = 0;
  for (const int fd : files_) {
    // "time on a core [ns], time waiting for one [ns], turns"
    char text[96];
    const ssize_t n = ::pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0) continue;
    text[n] = '\0';
    unsigned long long ran = 0, waited = 0;
    if (std::sscanf(text, "%llu %llu", &ran, &waited) == 2) total_ns += double(waited);
  }
  return total_ns * 1e-9;
}

}  // namespace ladarts
