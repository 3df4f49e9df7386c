#include "tests/support/run_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "core/atomic_file.h"
#include "core/clock.h"
#include "core/error.h"

namespace ladarts {

namespace {

// In the child, where nothing may throw.
void redirect(const std::string& path, int to) {
  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(126);
}

}  // namespace

RunningProgram::RunningProgram(const std::string& program, const std::vector<std::string>& arguments,
                               const std::filesystem::path& folder) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string out = output_ / "out", err = output_ / "err", cwd = folder;
  for (const std::string& file : {out, err})
    std::ofstream(file).flush();  // there, however early it is killed

  child_ = ::fork();
  require(child_ >= 0, "fork failed");
  if (child_ == 0) {
    redirect("/dev/null", STDIN_FILENO);
    redirect(out, STDOUT_FILENO);
    redirect(err, STDERR_FILENO);
    if (!cwd.empty() && ::chdir(cwd.c_str()) != 0) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
}

RunningProgram::~RunningProgram() {
  if (reap()) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

void RunningProgram::signal(int number) {
  if (!ended_) ::kill(child_, number);
}

bool RunningProgram::reap() {
  if (!ended_) ended_ = ::waitpid(child_, &status_, WNOHANG) == child_;
  return ended_;
}

bool RunningProgram::running() {
  return !reap();
}

std::string RunningProgram::err_so_far() const {
  return std::filesystem::exists(output_ / "err") ? read_file(output_ / "err") : "";
}

ProgramResult RunningProgram::wait(double timeout_s) {
  for (Stopwatch watch; !reap();) {
    require(watch.seconds() < timeout_s, "the program still runs after {} s", timeout_s);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  ProgramResult result;
  result.code = WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
  result.out = read_file(output_ / "out");
  result.err = read_file(output_ / "err");
  return result;
}

}  // namespace ladarts
