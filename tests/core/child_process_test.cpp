// Commands that hang, shout, die or do not exist.
#include "core/child_process.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

#include "core/atomic_file.h"
#include "core/clock.h"
#include "core/interrupt.h"
#include "core/temp_folder.h"
#include "tests/support/catch.h"
#include "tests/support/run_program.h"

using namespace ladarts;
using End = ChildResult::End;

namespace {

bool gone(pid_t pid) {
  for (const Stopwatch watch; watch.seconds() < 10;) {
    if (::kill(pid, 0) != 0) return true;
    // An orphan stays in the table until its new parent looks.
    const std::string stat = [&] {
      try {
        return read_file(fmt::format("/proc/{}/stat", pid));
      } catch (const Error&) {
        return std::string();
      }
    }();
    if (stat.empty() || stat.find(") Z") != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

}  // namespace

TEST_CASE("command: its outputs and exit status are kept, and it has nothing to read", "[core][command]") {
  const ChildResult r = run_command("cat; echo out; echo err >&2; exit 3");
  CHECK(r.end == End::exited);
  CHECK(r.code == 3);
  CHECK_FALSE(r.ok());
  CHECK(r.out == "out\n");
  CHECK(r.err == "err\n");
  CHECK(r.how_it_ended() == "ended with exit status 3");
  CHECK(run_command("true").ok());
}

TEST_CASE("command: one that does not exist says so", "[core][command]") {
  const ChildResult r = run_command("no-such-command-anywhere {}");
  CHECK(r.code == 127);
  CHECK_THAT(r.err, ContainsSubstring("no-such-command-anywhere"));
}

TEST_CASE("command: a death by signal is told, of the shell and of what it runs", "[core][command]") {
  const ChildResult shell = run_command("kill -SEGV $$");
  CHECK(shell.end == End::signalled);
  CHECK(shell.code == SIGSEGV);
  CHECK_THAT(shell.how_it_ended(), ContainsSubstring("signal 11"));
  const ChildResult inner = run_command("sh -c 'kill -KILL $$'; exit $?");
  CHECK(inner.end == End::exited);
  CHECK_THAT(inner.how_it_ended(), ContainsSubstring("signal 9"));
}

TEST_CASE("command: one that hangs is ended with all that it started, though they ignore being asked",
          "[core][command]") {
  TempFolder folder;
  const std::string pids = folder / "pids";
  // Both ignore SIGTERM, the inner one in a process of its own.
  const std::string command =
      "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done' >" + pids +
      " & while :; do sleep 0.05; done";
  const Stopwatch watch;
  const ChildResult r = run_command(command, {.timeout_s = 0.5, .grace_s = 0.2});
  CHECK(watch.seconds() < 8);
  CHECK(r.end == End::timed_out);
  CHECK_THAT(r.how_it_ended(), ContainsSubstring("still ran after"));
  const pid_t inner = std::stoi(read_file(pids));
  CHECK(gone(inner));
}

// Run by the case below in a process of its own, which is killed.
TEST_CASE("command.hangs", "[.child]") {
  run_command(
      "echo $$ >$COMMAND_TEST_PIDS; sh -c 'trap \"\" TERM; echo $$ >>$COMMAND_TEST_PIDS; sleep 1000'");
}

TEST_CASE("command: it dies with the process that runs it, whatever kills that", "[core][command]") {
  TempFolder folder;
  const std::string pids = folder / "pids";
  ::setenv("COMMAND_TEST_PIDS", pids.c_str(), 1);
  RunningProgram program("/proc/self/exe", {"command.hangs"});
  std::vector<pid_t> started;
  for (const Stopwatch watch; started.size() < 2 && watch.seconds() < 30;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (!std::filesystem::exists(pids)) continue;
    std::istringstream text(read_file(pids));
    started.clear();
    for (pid_t pid = 0; text >> pid;) started.push_back(pid);
  }
  REQUIRE(started.size() == 2);
  program.signal(SIGKILL);
  program.wait();
  for (const pid_t pid : started) CHECK(gone(pid));
}

TEST_CASE("command: what it left running is ended, though that holds its output open", "[core][command]") {
  const Stopwatch watch;
  const ChildResult r = run_command("sleep 1000 & echo $!");
  CHECK(r.ok());
  CHECK(watch.seconds() < 8);
  CHECK(gone(std::stoi(r.out)));
}

TEST_CASE("command: of megabytes the end is kept, and printing without end is ended", "[core][command]") {
  const ChildResult r =
      run_command("head -c 20000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero >&2; echo; echo end",
                  {.kept_out = 1000, .kept_err = 100});
  CHECK(r.ok());
  CHECK(r.out.size() == 1000);
  CHECK(r.out.ends_with("xxx\nend\n"));
  CHECK(r.err == std::string(100, '\0'));
  const Stopwatch watch;
  const ChildResult endless = run_command("yes", {.timeout_s = 0.3, .kept_out = 1000});
  CHECK(endless.end == End::timed_out);
  CHECK(watch.seconds() < 8);
  CHECK(endless.out.size() == 1000);
}

TEST_CASE("command: Ctrl-C ends it at once", "[core][command]") {
  catch_interrupts();
  std::thread later([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ::kill(::getpid(), SIGINT);
  });
  const Stopwatch watch;
  const ChildResult r = run_command("sleep 1000; echo no");
  later.join();
  clear_interrupt();
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  CHECK(r.end == End::interrupted);
  CHECK(r.out.empty());
  CHECK(watch.seconds() < 8);
}
