#include "core/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"

namespace ladarts {

namespace {

// One output of the child, of which the end is kept.
class Output {
 public:
  explicit Output(size_t kept) : kept_(kept) {
    int fds[2];
    require(::pipe2(fds, O_CLOEXEC) == 0, "[command] pipe failed: {}", std::strerror(errno));
    read_ = fds[0];
    write_ = fds[1];
    ::fcntl(read_, F_SETFL, O_NONBLOCK);
  }
  ~Output() {
    close(read_);
    close(write_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  int write_end() const { return write_; }
  int read_end() const { return read_; }  // -1 once all writers have closed theirs
  void close_write_end() { close(write_); }

  // What is there now, or a part of it: who prints without end must not keep us from looking at the clock.
  void read_some() {
    std::array<char, 64 * 1024> buffer;
    for (int i = 0; i < 64 && read_ >= 0; ++i) {
      const ssize_t n = ::read(read_, buffer.data(), buffer.size());
      if (n == 0) close(read_);
      if (n < 0 && errno != EINTR) return;
      if (n > 0) text_.append(buffer.data(), size_t(n));
      if (text_.size() > 2 * kept_) text_.erase(0, text_.size() - kept_);
    }
  }
  std::string text() const { return text_.size() > kept_ ? text_.substr(text_.size() - kept_) : text_; }

 private:
  static void close(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  size_t kept_;
  std::string text_;
  int read_ = -1, write_ = -1;
};

// In the child, between fork and exec: only what a signal handler may call.
[[noreturn]] void become(const char* command, int out, int err) {
  ::setpgid(0, 0);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0 && ::dup2(nothing, STDIN_FILENO) >= 0 && ::dup2(out, STDOUT_FILENO) >= 0 &&
      ::dup2(err, STDERR_FILENO) >= 0)
    ::execl("/bin/sh", "sh", "-c", command, static_cast<char*>(nullptr));
  ::_exit(127);
}

// In a process of its own in the command's group: kills the group, itself included, as soon as nobody holds
// the other end of the pipe any more, which is when ladarts has died.
[[noreturn]] void guard(pid_t group, int pipe) {
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);
  ::setpgid(0, group);
  ::dup2(pipe, STDIN_FILENO);
  ::fcntl(STDIN_FILENO, F_SETFL, 0);  // reading waits
  ::close_range(STDIN_FILENO + 1, ~0U, 0);
  char nothing = 0;
  while (::read(STDIN_FILENO, &nothing, 1) < 0 && errno == EINTR) {
  }
  if (::getpgrp() == group) ::kill(-group, SIGKILL);
  ::_exit(0);
}

void reap(pid_t pid, int& status) {
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
}

class Child {
 public:
  Child(const std::string& command, const ChildLimits& limits)
      : limits_(limits), out_(limits.kept_out), err_(limits.kept_err), lifeline_(0) {
    pid_ = ::fork();
    require(pid_ >= 0, "[command] fork failed: {}; end other programs, or raise ulimit -u",
            std::strerror(errno));
    if (pid_ == 0) become(command.c_str(), out_.write_end(), err_.write_end());
    ::setpgid(pid_, pid_);  // whoever comes first, so that the group exists from here on
    guard_ = ::fork();
    if (guard_ == 0) guard(pid_, lifeline_.read_end());
    if (guard_ < 0) {
      const int reason = errno;
      int status = 0;
      ::kill(-pid_, SIGKILL);
      reap(pid_, status);
      fail("[command] fork failed: {}; end other programs, or raise ulimit -u", std::strerror(reason));
    }
    ::setpgid(guard_, pid_);
    out_.close_write_end();
    err_.close_write_end();
  }

  ChildResult run() {
    ChildResult r;
    if (!ended_within(limits_.timeout_s, true)) {
      r.end = interrupted() ? ChildResult::End::interrupted : ChildResult::End::timed_out;
      ::kill(-pid_, SIGTERM);
      ended_within(limits_.grace_s, false);
    }
    r.seconds = watch_.seconds();
    // The child is not waited for yet, so its number, which is the group's, still belongs to it.
    ::kill(-pid_, SIGKILL);
    ::kill(guard_, SIGKILL);
    int status = 0;
    reap(guard_, status);
    reap(pid_, status);
    out_.read_some();
    err_.read_some();
    if (r.end == ChildResult::End::exited) {
      if (WIFSIGNALED(status)) r.end = ChildResult::End::signalled;
      r.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    }
    r.out = out_.text();
    r.err = err_.text();
    return r;
  }

 private:
  bool ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, id_t(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }

  // Reads its outputs until it has ended; false after `seconds`, or once interrupted() where that counts.
  bool ended_within(double seconds, bool heeds_interrupts) {
    for (const Stopwatch watch; !ended();) {
      if (watch.seconds() >= seconds || (heeds_interrupts && interrupted())) return false;
      std::array<pollfd, 2> fds{{{out_.read_end(), POLLIN, 0}, {err_.read_end(), POLLIN, 0}}};
      ::poll(fds.data(), fds.size(), 10);  // ms; a signal ends it early
      out_.read_some();
      err_.read_some();
    }
    return true;
  }

  const ChildLimits& limits_;
  Output out_, err_;
  Output lifeline_;  // its write end is open as long as this process lives
  pid_t pid_ = -1, guard_ = -1;
  Stopwatch watch_;
};

}  // namespace

std::string ChildResult::how_it_ended() const {
  switch (end) {
    case End::timed_out:
      return fmt::format("still ran after {:.3g} s", seconds);
    case End::interrupted:
      return "was interrupted";
    case End::signalled:
      return fmt::format("was ended by signal {} ({})", code, ::strsignal(code));
    case End::exited:
      break;
  }
  // A shell tells of what it has waited for in this way.
  if (code > 128 && code < 128 + NSIG)
    return fmt::format("ended with exit status {} (signal {}: {})", code, code - 128,
                       ::strsignal(code - 128));
  return fmt::format("ended with exit status {}", code);
}

ChildResult run_command(const std::string& command, const ChildLimits& limits) {
  return Child(command, limits).run();
}

}  // namespace ladarts
