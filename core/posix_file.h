// POSIX file descriptors that close themselves, and file errors in the user's words. Internal to core's file
// services.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace ladarts {

// "[file] 'runs/a.json': write failed: No space left on device (errno 28); free some space ..."
std::string file_error(const std::filesystem::path& path, const char* call, int error_number);

// Throws Error(file_error(path, call, errno)).
[[noreturn]] void fail_file(const std::filesystem::path& path, const char* call);

class FileDescriptor {
 public:
  // open(2) with O_CLOEXEC; throws Error.
  FileDescriptor(const std::filesystem::path& path, int flags, unsigned mode = 0666);
  ~FileDescriptor();
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }
  // Writes all of it at the file position; throws Error, after which a part may have been written.
  void write_all(std::string_view bytes) const;
  // Throws Error if another process, or another descriptor of this one, holds the file's lock. Where the file
  // system has no locks, it does nothing.
  void lock() const;
  void close();  // reports what close(2) reports; the destructor does not

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace ladarts
