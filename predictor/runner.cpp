#include "predictor/runner.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/child_process.h"
#include "core/json_file.h"

namespace ladarts {

namespace {

// The part after the last line break that something stands behind.
std::string last_line(std::string text) {
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return text.substr(text.find_last_of('\n') + 1);
}

// For one line of a status: the end of the text, without line breaks and other control characters.
std::string excerpt(const std::string& text, size_t length) {
  std::string line = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  if (line.size() > length) line = "..." + line.substr(line.size() - length);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

// The "error" of an answer; empty where there is none.
std::string told_error(const std::string& standard_output) {
  const Json reply = Json::parse(last_line(standard_output), nullptr, /*allow_exceptions=*/false);
  const bool told = reply.is_object() && reply.contains("error") && reply["error"].is_string();
  return told ? excerpt(reply["error"].get<std::string>(), 300) : "";
}

double positive(double value, const std::string& name) {
  require(std::isfinite(value) && value > 0, "[runner] '{}' is {}; it should be above 0", name, value);
  return value;
}

std::optional<double> positive_field(JsonFields& fields, const std::string& name) {
  if (!fields.has(name)) return std::nullopt;
  return positive(fields.get<double>(name), name);
}

int count_field(JsonFields& fields, const std::string& name) {
  const int count = fields.get_or(name, 0);
  require(count >= 0, "[runner] '{}' is {}; it should not be negative", name, count);
  return count;
}

std::optional<Timing> read_latency(JsonFields& fields) {
  std::optional<Timing> t;
  if (fields.has("times_ms")) {
    require(!fields.has("latency_ms"), "[runner] give times_ms or latency_ms, not both");
    const auto times = fields.get<std::vector<double>>("times_ms");
    require(!times.empty(), "[runner] times_ms is empty");
    for (double ms : times) positive(ms, "times_ms");
    t = summarise_times(times);
  } else if (const auto ms = positive_field(fields, "latency_ms")) {
    t.emplace();
    t->median_ms = *ms;
    t->min_ms = positive_field(fields, "min_ms").value_or(*ms);
    t->mean_ms = positive_field(fields, "mean_ms").value_or(*ms);
    t->relative_spread = fields.get_or("relative_spread", 0.0);
    require(std::isfinite(t->relative_spread) && t->relative_spread >= 0,
            "[runner] 'relative_spread' is {}; it should not be negative", t->relative_spread);
    t->repeats = std::max(1, count_field(fields, "repeats"));
  }
  if (t) t->warmup_runs = count_field(fields, "warmup_runs");
  return t;
}

// Of `command`, every `{name}` by `value`.
std::string with(std::string command, const std::string& name, const std::string& value) {
  const std::string place = "{" + name + "}";
  for (size_t at = 0; (at = command.find(place, at)) != std::string::npos; at += value.size())
    command.replace(at, place.size(), value);
  return command;
}

}  // namespace

RunnerReply parse_runner_reply(const std::string& standard_output) {
  const std::string line = last_line(standard_output);
  require(!line.empty(), "[runner] it printed nothing; its last line should be JSON such as {}",
          R"({"latency_ms": 3.2})");
  // Python prints NaN and Infinity, which are no JSON.
  const Json reply = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  require(reply.is_object(), "[runner] its last line should be a JSON object such as {}, is: {}",
          R"({"latency_ms": 3.2})", excerpt(line, 120));
  JsonFields fields(reply, "[runner] its last line");
  if (fields.has("error")) fail("[runner] {}", excerpt(fields.get<std::string>("error"), 300));
  RunnerReply r;
  r.latency = read_latency(fields);
  r.energy_mj = positive_field(fields, "energy_mj");
  r.peak_memory_mib = positive_field(fields, "peak_memory_mib");
  r.device = fields.get_or<std::string>("device", "");
  r.precision = fields.get_or<std::string>("precision", "");
  r.library = fields.get_or<std::string>("library", "");
  r.threads = count_field(fields, "threads");
  fields.finish();
  require(r.latency || r.energy_mj || r.peak_memory_mib,
          "[runner] its last line has no cost; give latency_ms, times_ms, energy_mj or peak_memory_mib");
  return r;
}

Runner::Runner(std::string command, double timeout_s) : command_(std::move(command)), timeout_s_(timeout_s) {
  require(command_.find("{model}") != std::string::npos,
          "[runner] '{}' does not say where the model goes: write {{model}} in its place, and {{batch}} and "
          "{{threads}} where it needs them",
          command_);
  require(std::isfinite(timeout_s) && timeout_s > 0, "[runner] a time limit of {} s; give more than 0",
          timeout_s);
}

RunnerReply Runner::run(const std::filesystem::path& model, int batch, int threads) const {
  // The file's name stands in the user's command, perhaps between quotes of any kind: it must mean nothing to
  // any shell.
  const std::string name = model.string();
  const bool plain = name.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                         "/._-+") == std::string::npos;
  require(plain,
          "[runner] the model would be written to '{}', which a shell may misread: set TMPDIR to a folder "
          "named by letters, digits and / . _ - + alone",
          name);
  const std::string command = with(with(with(command_, "model", name), "batch", fmt::format("{}", batch)),
                                   "threads", fmt::format("{}", threads));
  const ChildResult child = run_command(command, {.timeout_s = timeout_s_});
  if (child.end == ChildResult::End::interrupted) throw RunnerInterrupted{};
  const std::string said = excerpt(child.err, 300), error = child.ok() ? "" : told_error(child.out);
  const std::string tail = said.empty() ? "" : "; it said: " + said;
  require(child.ok(), "[runner] the command {}{}{}{}", child.how_it_ended(), error.empty() ? "" : ": ", error,
          tail);
  try {
    return parse_runner_reply(child.out);
  } catch (const Error& e) {
    throw Error(e.what() + tail);
  }
}

}  // namespace ladarts
