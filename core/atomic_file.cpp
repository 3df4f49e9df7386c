#include "core/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/error.h"

namespace ladarts {

namespace fs = std::filesystem;

namespace {

constexpr size_t kPendingBytes = size_t(1) << 20;

// The file that a write to `path` should replace: itself, or what a symbolic link points at.
fs::path replaced_file(fs::path path) {
  std::error_code error;
  if (fs::is_symlink(path, error)) {
    const fs::path target = fs::weakly_canonical(path, error);
    if (!error) path = target;
  }
  const fs::file_status status = fs::status(path, error);
  require(!fs::is_directory(status), "[file] '{}' is a folder; name a file", path.string());
  require(!fs::exists(status) || fs::is_regular_file(status),
          "[file] '{}' is not a regular file and would be replaced by one; choose another name",
          path.string());
  return path;
}

fs::path temporary_beside(const fs::path& path) {
  fs::path result = path;
  result += ".tmp";
  return result;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

AtomicFile::AtomicFile(fs::path path)
    : path_(replaced_file(std::move(path))),
      temporary_(temporary_beside(path_)),
      file_(temporary_, O_WRONLY | O_CREAT | O_NOFOLLOW) {
  file_.lock();
  // Between open and lock another writer may have renamed the file that we hold: then it is the live one.
  struct stat held, named;
  const bool same = ::fstat(file_.get(), &held) == 0 && ::stat(temporary_.c_str(), &named) == 0 &&
                    held.st_ino == named.st_ino && held.st_dev == named.st_dev;
  require(same, "[file] '{}' is being written by another process; try again when it has ended",
          path_.string());
  // What an earlier kill left in the temporary goes.
  if (::ftruncate(file_.get(), 0) != 0) fail_file(temporary_, "ftruncate");
  struct stat old;
  if (::stat(path_.c_str(), &old) == 0 && ::fchmod(file_.get(), old.st_mode & 0777) != 0)
    fail_file(temporary_, "fchmod");
}

AtomicFile::~AtomicFile() {
  if (!committed_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  LADARTS_CHECK(!committed_);
  if (pending_.size() + bytes.size() > kPendingBytes) flush();
  if (bytes.size() > kPendingBytes)
    file_.write_all(bytes);
  else
    pending_.append(bytes);
}

void AtomicFile::flush() {
  file_.write_all(pending_);
  pending_.clear();
}

void AtomicFile::commit() {
  LADARTS_CHECK(!committed_);
  flush();
  if (::fsync(file_.get()) != 0) fail_file(temporary_, "fsync");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_file(path_, "rename");
  committed_ = true;
  file_.close();
  // The rename itself is durable once the folder is. Some file systems cannot sync a folder; the contents are
  // in place all the same.
  FileDescriptor folder(folder_of(path_), O_RDONLY | O_DIRECTORY);
  if (::fsync(folder.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    fail_file(path_, "fsync of its folder");
}

void write_file_atomically(const fs::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

std::string read_file(const fs::path& path) {
  FileDescriptor file(path, O_RDONLY);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) fail_file(path, "fstat");
  std::string contents;
  if (S_ISREG(status.st_mode)) contents.reserve(size_t(status.st_size) + 1);
  for (;;) {
    const size_t spare = contents.capacity() - contents.size();
    const size_t chunk = spare > 0 ? spare : contents.size() + (1 << 16);
    const size_t end = contents.size();
    contents.resize(end + chunk);
    const ssize_t n = ::read(file.get(), contents.data() + end, chunk);
    const int error_number = errno;
    contents.resize(end + (n > 0 ? size_t(n) : 0));
    if (n == 0) return contents;
    errno = error_number;
    if (n < 0 && errno != EINTR) fail_file(path, "read");
  }
}

void create_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw Error(file_error(path, "creating the folder", error.value()));
  require(fs::is_directory(path, error), "[file] '{}' exists and is not a folder", path.string());
}

}  // namespace ladarts
