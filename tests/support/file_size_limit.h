// A disk that fills up, without one: while this lives, no file of the process can grow beyond `bytes`.
#pragma once

#include <sys/resource.h>

#include <csignal>

#include "core/error.h"

namespace ladarts {

class FileSizeLimit {
 public:
  explicit FileSizeLimit(size_t bytes) {
    // Without a handler, passing the limit ends the process instead of failing the write.
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    LADARTS_CHECK(::getrlimit(RLIMIT_FSIZE, &old_) == 0);
    const rlimit limit{bytes, old_.rlim_max};
    LADARTS_CHECK(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_{};
  void (*old_handler_)(int) = nullptr;
};

}  // namespace ladarts
