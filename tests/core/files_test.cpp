// Atomic files, JSON files, JSON-lines logs.
#include <fcntl.h>
#include <sys/stat.h>

#include "core/atomic_file.h"
#include "core/json_file.h"
#include "core/jsonl_log.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/mutate.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
namespace fs = std::filesystem;

namespace {

size_t entries(const fs::path& folder) {
  return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("atomic file: replaces the contents and leaves nothing beside them", "[core][file]") {
  TempFolder folder;
  write_file_atomically(folder / "a", "first");
  ::chmod((folder / "a").c_str(), 0640);
  const std::string big(3'000'000, 'x');
  {
    AtomicFile file(folder / "a");
    file.write("head");
    file.write(big);
    file.write("tail");
    CHECK(read_file(folder / "a") == "first");
    file.commit();
  }
  CHECK(read_file(folder / "a") == "head" + big + "tail");
  CHECK(entries(folder.path()) == 1);
  CHECK(fs::status(folder / "a").permissions() == fs::perms(0640));
}

TEST_CASE("atomic file: without commit the old contents stay", "[core][file]") {
  TempFolder folder;
  write_file_atomically(folder / "a", "old");
  { AtomicFile(folder / "a").write("new"); }
  CHECK(read_file(folder / "a") == "old");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("atomic file: a full disk leaves the old contents and names the cause", "[core][file]") {
  TempFolder folder;
  write_file_atomically(folder / "a", "old");
  {
    FileSizeLimit limit(100'000);
    CHECK_THROWS_WITH(
        write_file_atomically(folder / "a", std::string(5'000'000, 'x')),
        ContainsSubstring("a.tmp': write failed: File too large") && ContainsSubstring("ulimit"));
  }
  CHECK(read_file(folder / "a") == "old");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("file errors: no space is told with its remedy", "[core][file]") {
  FileDescriptor full("/dev/full", O_WRONLY);
  CHECK_THROWS_WITH(full.write_all("x"),
                    ContainsSubstring("'/dev/full': write failed: No space left on device") &&
                        ContainsSubstring("free some space"));
}

TEST_CASE("atomic file: what a kill left behind is overwritten", "[core][file]") {
  TempFolder folder;
  write_plain(folder / "a.tmp", "a longer rest of an earlier run");
  write_file_atomically(folder / "a", "new");
  CHECK(read_file(folder / "a") == "new");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("atomic file: a second writer, a folder, a device, a missing folder are refused", "[core][file]") {
  TempFolder folder;
  AtomicFile first(folder / "a");
  CHECK_THROWS_WITH(AtomicFile(folder / "a"), ContainsSubstring("being written by another process"));
  CHECK_THROWS_WITH(AtomicFile(folder.path()), ContainsSubstring("is a folder"));
  CHECK_THROWS_WITH(AtomicFile("/dev/null"), ContainsSubstring("not a regular file"));
  CHECK_THROWS_WITH(AtomicFile(folder / "none/a"), ContainsSubstring("No such file or directory") &&
                                                       ContainsSubstring("its folder, does not exist"));
  first.write("x");
  first.commit();
  CHECK(read_file(folder / "a") == "x");
}

TEST_CASE("atomic file: a symbolic link keeps pointing at the replaced file", "[core][file]") {
  TempFolder folder;
  write_file_atomically(folder / "real", "old");
  fs::create_symlink("real", folder / "link");
  write_file_atomically(folder / "link", "new");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(read_file(folder / "real") == "new");
}

TEST_CASE("file errors: reading what is not there; making a folder where a file is", "[core][file]") {
  TempFolder folder;
  CHECK_THROWS_WITH(read_file(folder / "none"), ContainsSubstring("none': open failed"));
  CHECK_THROWS_WITH(read_file(folder.path()), ContainsSubstring("read failed: Is a directory"));
  write_plain(folder / "file", "");
  CHECK_THROWS_AS(create_folder(folder / "file"), Error);
  CHECK_THROWS_AS(create_folder(folder / "file/below"), Error);
  create_folder(folder / "x/y");
  create_folder(folder / "x/y");
  CHECK(fs::is_directory(folder / "x/y"));
}

TEST_CASE("json: round trip keeps order and values", "[core][json]") {
  TempFolder folder;
  const Json value = {{"z", 1}, {"a", {1.5, nullptr, "\xc3\xa9"}}, {"big", 18446744073709551615u}};
  write_json_file(folder / "v.json", value);
  CHECK(read_json_file(folder / "v.json").dump() == value.dump());
}

TEST_CASE("json: a syntax error names file, line and column", "[core][json]") {
  TempFolder folder;
  write_plain(folder / "bad.json", "{\n  \"a\": 1,\n  \"b\": oops\n}\n");
  CHECK_THROWS_WITH(read_json_file(folder / "bad.json"), ContainsSubstring("bad.json:3:8: [json]"));
  CHECK_THROWS_WITH(parse_json("{\"a\":", "x"), ContainsSubstring("x:1:6: [json]"));
  CHECK_THROWS_WITH(parse_json("", "x"), ContainsSubstring("x:1:1: [json]"));
  CHECK_THROWS_WITH(parse_json("[1e999]", "x"), ContainsSubstring("x: [json]"));
  CHECK_THROWS_WITH(parse_json(std::string(100'000, '['), "x"), ContainsSubstring("nested more than"));
}

TEST_CASE("json fields: missing, mistyped, out of range and unknown fields are named", "[core][json]") {
  const Json object =
      parse_json(R"({"n": 3, "x": 2, "neg": -1, "s": "t", "big": 3000000000, "list": [1, 2]})", "f");
  JsonFields fields(object, "f.json: search");
  CHECK(fields.get<int>("n") == 3);
  CHECK(fields.get<double>("x") == 2.0);
  CHECK(fields.get_or<std::string>("absent", "default") == "default");
  CHECK(fields.get<std::vector<int>>("list") == std::vector<int>{1, 2});
  CHECK_THROWS_WITH(fields.at("m"), "f.json: search: [json] the field 'm' is missing");
  CHECK_THROWS_WITH(fields.get<int>("s"), ContainsSubstring("'s' should be a whole number, is \"t\""));
  CHECK_THROWS_WITH(fields.get<unsigned>("neg"), ContainsSubstring("not negative, is -1"));
  CHECK_THROWS_WITH(fields.get<int32_t>("big"), ContainsSubstring("'big' should be"));
  CHECK_THROWS_WITH(fields.get<bool>("n"), ContainsSubstring("true or false"));
  CHECK_THROWS_WITH(fields.get<std::vector<int>>("s"), ContainsSubstring("'s' has the wrong type"));
  fields.finish();  // all were asked for by now
  JsonFields other(object, "f");
  other.get<int>("n");
  CHECK_THROWS_WITH(other.finish(), "f: [json] unknown field 'x'; known here: n");
  CHECK_THROWS_WITH(JsonFields(object.at("list"), "f"),
                    ContainsSubstring("expected an object, found a list"));
}

TEST_CASE("jsonl log: records can be read while the log is open", "[core][log]") {
  TempFolder folder;
  JsonlLog log(folder / "log");
  for (int i = 0; i < 3; ++i) log.append({{"i", i}, {"text", "two\nlines"}});
  CHECK(log.size() == 3);
  const std::vector<Json> records = read_jsonl(folder / "log");
  REQUIRE(records.size() == 3);
  CHECK(records[2] == Json({{"i", 2}, {"text", "two\nlines"}}));
  CHECK_THROWS_WITH(JsonlLog(folder / "log"), ContainsSubstring("another process"));
}

TEST_CASE("jsonl log: reopened after a cut at every byte, it holds the whole records and goes on",
          "[core][log]") {
  TempFolder folder;
  const std::string text = "{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const fs::path path = folder / "log";
    write_plain(path, text.substr(0, cut));
    const size_t whole = (cut + 1) / 8;  // a record that lacks nothing but its newline counts
    CHECK(read_jsonl(path).size() == whole);
    {
      JsonlLog log(path);
      CHECK(log.size() == whole);
      log.append({{"i", 9}});
    }
    const std::vector<Json> records = read_jsonl(path);
    REQUIRE(records.size() == whole + 1);
    for (size_t i = 0; i < whole; ++i) CHECK(records[i]["i"] == i);
    CHECK(records.back()["i"] == 9);
  }
}

TEST_CASE("jsonl log: keep drops the records behind a checkpoint", "[core][log]") {
  TempFolder folder;
  JsonlLog log(folder / "log");
  for (int i = 0; i < 5; ++i) log.append({{"i", i}});
  log.keep(2);
  log.append({{"i", 7}});
  CHECK(read_file(folder / "log") == "{\"i\":0}\n{\"i\":1}\n{\"i\":7}\n");
  CHECK_THROWS_WITH(log.keep(4), ContainsSubstring("has 3 records where 4 were expected"));
}

TEST_CASE("jsonl log: a full disk costs the new record only", "[core][log]") {
  TempFolder folder;
  JsonlLog log(folder / "log");
  log.append({{"i", 0}});
  {
    FileSizeLimit limit(20);
    CHECK_THROWS_AS(log.append({{"text", std::string(100, 'x')}}), Error);
  }
  CHECK(read_file(folder / "log") == "{\"i\":0}\n");
  log.append({{"i", 1}});
  CHECK(read_jsonl(folder / "log").size() == 2);
}

TEST_CASE("jsonl log: a bad line in the middle is named", "[core][log]") {
  TempFolder folder;
  write_plain(folder / "log", "{\"i\":0}\n{\"i\":\n{\"i\":2}\n");
  CHECK_THROWS_WITH(read_jsonl(folder / "log"), ContainsSubstring("log:2: [log] this line is not JSON"));
}
