#include "core/posix_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace ladarts {

namespace {

const char* remedy(int error_number) {
  switch (error_number) {
    case ENOSPC:
      return "free some space on that disk, or choose another place";
    case EDQUOT:
      return "your quota there is used up: delete something, or choose another place";
    case EFBIG:
      return "the file would pass the limit on file sizes (ulimit -f)";
    case EACCES:
    case EPERM:
      return "check the permissions of the file and its folder";
    case EROFS:
      return "that file system is read-only: choose another place";
    case ENOENT:
      return "check the path; the file, or its folder, does not exist";
    case ENOTDIR:
      return "check the path; a part of it is a file, not a folder";
    case EISDIR:
      return "name a file, not a folder";
    case EMFILE:
    case ENFILE:
      return "too many files are open (ulimit -n)";
    case ENAMETOOLONG:
      return "choose a shorter name";
    default:
      return "check the disk and the path";
  }
}

}  // namespace

std::string file_error(const std::filesystem::path& path, const char* call, int error_number) {
  return fmt::format("[file] '{}': {} failed: {} (errno {}); {}", path.string(), call,
                     std::generic_category().message(error_number), error_number, remedy(error_number));
}

void fail_file(const std::filesystem::path& path, const char* call) {
  throw Error(file_error(path, call, errno));
}

FileDescriptor::FileDescriptor(const std::filesystem::path& path, int flags, unsigned mode) : path_(path) {
  do fd_ = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) fail_file(path_, "open");
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

void FileDescriptor::write_all(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_file(path_, "write");
    bytes.remove_prefix(size_t(n));
  }
}

void FileDescriptor::lock() const {
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  require(errno != EWOULDBLOCK,
          "[file] '{}' is being written by another process; wait for it to end, or choose another place",
          path_.string());
}

void FileDescriptor::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) fail_file(path_, "close");
}

}  // namespace ladarts
