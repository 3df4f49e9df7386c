// The program: parses the command line, runs one subcommand, prints its result and turns what went wrong into
// a message and an exit code.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "apps/command.h"
#include "core/interrupt.h"
#include "predictor/machine.h"

namespace ladarts {
namespace {

std::vector<std::unique_ptr<Command>> all_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  for (auto make :
       {make_run_command, make_search_command, make_train_command, make_eval_command, make_data_command,
        make_measure_command, make_db_command, make_fit_command, make_derive_command, make_export_command,
        make_verify_command, make_profile_command, make_bench_command, make_info_command})
    commands.push_back(make());
  return commands;
}

// A full disk or a closed pipe shows only when the last buffer is written.
int print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return kExitOk;
  std::fprintf(stderr, "ladarts: error: cannot write to standard output: %s\n", std::strerror(errno));
  return kExitError;
}

int report(const std::string& message, int code, bool json) {
  std::fprintf(stderr, "ladarts: error: %s\n", message.c_str());
  if (json) print(to_json_line({{"error", message}, {"exit_code", code}}) + "\n");
  return code;
}

int run(Command& command, const CommonOptions& common) {
  try {
    apply(common);
    choose_kernels(common);  // what no command can use is refused before any work
    catch_interrupts();
    const Json result = command.run(common);
    return print(common.json ? result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                             : command.text(result));
  } catch (const Interrupted& e) {
    std::fprintf(stderr, "ladarts: %s\n", e.what());
    const int code = interrupt_signal() ? 128 + interrupt_signal() : int(kExitInterrupted);
    if (common.json) print(to_json_line({{"interrupted", e.what()}, {"exit_code", code}}) + "\n");
    return code;
  } catch (const std::bad_alloc&) {
    return report("out of memory; reduce the batch size or the network's channels", kExitError, common.json);
  } catch (const std::exception& e) {
    return report(e.what(), kExitError, common.json);
  }
}

int usage_error(const CLI::App& app, const CLI::ParseError& error, bool json) {
  const auto chosen = app.get_subcommands();
  const std::string name = chosen.empty() ? "ladarts" : "ladarts " + chosen[0]->get_name();
  report(error.what(), kExitUsage, json);
  std::fprintf(stderr, "see: %s --help\n", name.c_str());
  return kExitUsage;
}

int main_program(int argc, char** argv) {
  CLI::App app("ladarts finds neural networks that are accurate and fast on a given machine.", "ladarts");
  app.set_version_flag("--version", "ladarts " + library_version());
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "this help");
  app.footer("ladarts COMMAND --help shows the options of a command and an example.");

  const auto commands = all_commands();
  std::vector<CommonOptions> common(commands.size());
  std::vector<CLI::App*> subcommands;
  for (size_t i = 0; i < commands.size(); ++i) {
    CLI::App* sub = app.add_subcommand(commands[i]->name(), commands[i]->summary());
    sub->footer("Example:\n  " + commands[i]->example());
    sub->option_defaults()->multi_option_policy(
        CLI::MultiOptionPolicy::TakeLast);  // scripts append to override
    commands[i]->declare(*sub);
    add_common_options(*sub, common[i]);
    subcommands.push_back(sub);
  }

  const bool json =
      std::any_of(argv, argv + argc, [](const char* a) { return std::strcmp(a, "--json") == 0; });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    if (argc == 1) {
      std::fputs(app.help().c_str(), stderr);
      return kExitUsage;
    }
    return usage_error(app, e, json);
  }
  for (size_t i = 0; i < commands.size(); ++i)
    if (subcommands[i]->parsed()) return run(*commands[i], common[i]);
  LADARTS_CHECK(!"a subcommand is required");
  return kExitError;
}

}  // namespace
}  // namespace ladarts

int main(int argc, char** argv) {
  return ladarts::main_program(argc, argv);
}
