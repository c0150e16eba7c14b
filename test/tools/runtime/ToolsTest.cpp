//===- ToolsTest.cpp - the runtime's tools, run as programs -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Over the toy of test/runtime, whose logits can be said exactly, so that no
// compiler is needed.
//
//===------------------------------------------------------------------===//

#include "test/runtime/ToyModel.h"
#include "tools/common/Npy.h"
#include "tools/mambit-compare/Compare.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace mambit;
using namespace mambit::tools;
using mambit::test::ToyReference;

namespace {

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Result {
  int status;
  std::string out, err;
};

class ToolsTest : public testing::Test {
protected:
  static constexpr unsigned kVocab = 7;

  // A folder of its own for each test, so that they can run at once.
  ToolsTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "mambit-tools-XXXXXX")
            .string();
    folder = mkdtemp(pattern.data());
    model = folder + "/toy.mbt";
    test::ToyOptions options;
    options.image = test::toyFile("toy.so");
    options.vocab = kVocab;
    artifact::Draft draft = test::makeToy(options);
    artifact::write(draft, model);
  }
  ~ToolsTest() override { std::filesystem::remove_all(folder); }

  /// A toy whose vocabulary has the words of a tokenizer.
  std::string makeTextModel() {
    test::ToyOptions options;
    options.image = test::toyFile("toy-text.so");
    options.vocab = 4100;
    options.tokenizer = MAMBIT_CHECKPOINT "/tokenizer.model";
    artifact::Draft draft = test::makeToy(options);
    artifact::write(draft, folder + "/text.mbt");
    return folder + "/text.mbt";
  }

  std::string writeIds(const std::vector<int32_t> &ids) {
    std::string path = folder + "/ids.npy";
    writeNpy(path, {ids.size()}, ids.data());
    return path;
  }

  /// Runs a tool through the shell.
  Result run(const std::string &command) {
    std::string out = folder + "/out", err = folder + "/err";
    int status = std::system(
        (MAMBIT_TOOLS "/" + command + " >" + out + " 2>" + err).c_str());
    return {WEXITSTATUS(status), readFile(out), readFile(err)};
  }

  void expectError(const std::string &command, const std::string &part) {
    Result result = run(command);
    EXPECT_EQ(result.status, 1) << command;
    EXPECT_EQ(result.out, "") << command;
    std::string tool = command.substr(0, command.find(' '));
    EXPECT_EQ(result.err.rfind(tool + ": error: ", 0), 0u) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1)
        << result.err;
  }

  static std::vector<int32_t> someIds(size_t count) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < count; ++i)
      ids.push_back(int32_t(i * i + 3 * i) % kVocab);
    return ids;
  }

  /// The logits after every token, run in calls of `chunk`: the toy tells a
  /// decoded token from a prefilled one.
  static std::vector<double> expectedLogits(const std::vector<int32_t> &ids,
                                            size_t chunk) {
    ToyReference reference(kVocab);
    std::vector<double> logits;
    for (size_t i = 0; i < ids.size(); ++i) {
      size_t begin = i / chunk * chunk;
      bool alone = std::min(chunk, ids.size() - begin) == 1;
      for (float logit : reference.push(ids[i], alone))
        logits.push_back(logit);
    }
    return logits;
  }

  std::string folder, model;
};

//===----------------------------------------------------------------------===//
// All tools
//===----------------------------------------------------------------------===//

TEST_F(ToolsTest, HelpHasExamples) {
  for (std::string tool : {"mambit-run", "mambit-eval", "mambit-bench",
                           "mambit-inspect", "mambit-compare"}) {
    Result help = run(tool + " --help");
    EXPECT_EQ(help.status, 0);
    EXPECT_EQ(help.err, "");
    EXPECT_NE(help.out.find("\nExamples:\n  " + tool), std::string::npos);
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);)
      EXPECT_LE(line.size(), 80u) << line;
    Result version = run(tool + " --version");
    EXPECT_EQ(version.status, 0);
    EXPECT_EQ(version.out.rfind(tool + " " MAMBIT_VERSION, 0), 0u);
  }
}

TEST_F(ToolsTest, WrongOptionsAreErrors) {
  for (std::string tool :
       {"mambit-run", "mambit-eval", "mambit-bench", "mambit-inspect"}) {
    expectError(tool, "is required");
    expectError(tool + " " + model + " --no-such-option", "--no-such-option");
  }
  for (std::string tool : {"mambit-run ", "mambit-eval "}) {
    expectError(tool + model, "expected exactly one of");
    expectError(tool + model + " --ids a --threads 0", "from 1 to");
    expectError(tool + model + " --ids a --threads -1", "'-1'");
  }
  std::string ids = " --ids " + writeIds({1, 2});
  expectError("mambit-run " + model + ids + " --prompt a", "found 2");
  expectError("mambit-run " + model + ids + " -n -3", "found '-3'");
  expectError("mambit-run " + model + ids + " -n 1x", "found '1x'");
  expectError("mambit-run " + model + ids + " --chunk 0", "from 1 to");
  expectError("mambit-run " + model + ids + " --chunk 2 --decode", "excludes");
  expectError("mambit-run " + model + ids + " --greedy-ids --seed 1",
              "excludes");
  expectError("mambit-run " + model + ids + " --temperature -1", "temperature");
  for (std::string bad : {"inf", "nan", "1e999", "''", "1x"})
    expectError("mambit-run " + model + ids + " --temperature " + bad,
                "--temperature: expected a number of at least 0, found '");
  expectError("mambit-run " + model + ids + " --top-p 1.5",
              "--top-p: expected a number from 0 to 1, found '1.5'");
  expectError("mambit-run " + model + ids + " --repeat-penalty 0",
              "--repeat-penalty: expected a number of at least 1.17");
  expectError("mambit-run " + model + ids + " --state ''",
              "--state: expected a value, found none");
  expectError("mambit-inspect ''", "PATH: expected a value, found none");
  expectError("mambit-eval " + model + ids + " --window 1", "from 2 to");
}

TEST_F(ToolsTest, UnusableFilesAreErrors) {
  std::string other = folder + "/other";
  std::ofstream(other) << "something else";
  for (std::string tool : {"mambit-run ", "mambit-eval "}) {
    expectError(tool + other + " --ids " + writeIds({1}), "artifact");
    expectError(tool + model + " --ids " + folder + "/none", "No such file");
    expectError(tool + model + " --ids " + folder, "not a file");
    expectError(tool + model + " --ids " + other, "is not a .npy file");
    expectError(tool + model + " --ids " + writeIds({1, 2, 7}),
                "element 2 is 7, expected a token id less than 7");
    expectError(tool + model + " --device tpu --ids " + writeIds({1}),
                "unknown device 'tpu'");
    expectError(tool + model + " --device \"$(printf '\\033[2J')\" --ids " +
                    writeIds({1}),
                "unknown device '?[2J'");
    expectError(tool + model + " --device cuda --ids " + writeIds({1}),
                "the artifact has no code for device 'cuda'; it has: cpu");
    expectError(tool + model + " --target x86-64-v9 --ids " + writeIds({1}),
                "'x86-64-v9'");
  }
  std::string pipe = folder + "/pipe"; // without a writer
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expectError("mambit-run " + pipe + " --prompt a", pipe);
  expectError("mambit-run " + model + " --ids " + pipe, "not a file");
  expectError("mambit-run " + model + " --state " + pipe, pipe);
  expectError("mambit-inspect " + other, "not a Mambit artifact");
  expectError("mambit-inspect " + folder, "expected model.safetensors");
  expectError("mambit-run " + model + " --prompt hello", "no tokenizer");
  expectError("mambit-eval " + model + " --text " + other, "no tokenizer");
  expectError("mambit-run " + model + " --ids " + writeIds({}), "no tokens");
}

//===----------------------------------------------------------------------===//
// mambit-run
//===----------------------------------------------------------------------===//

TEST_F(ToolsTest, RunWritesLogits) {
  // More than two pieces of the runtime, and a rest.
  std::vector<int32_t> ids = someIds(2 * test::kToyPrefillTokens + 3);
  std::string out = folder + "/logits.npy";
  std::string command =
      "mambit-run " + model + " --ids " + writeIds(ids) + " --logits " + out;
  auto check = [&](const std::string &flags, size_t chunk) {
    Result result = run(command + flags);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("prompt: 19 tokens in "), std::string::npos);
    NpyArray logits = readNpy(out);
    EXPECT_EQ(logits.type, NpyType::F32);
    EXPECT_EQ(logits.shape, (NpyShape{ids.size(), kVocab}));
    EXPECT_EQ(logits.toDoubles(), expectedLogits(ids, chunk)) << flags;
  };
  check("", test::kToyPrefillTokens);
  check(" --decode", 1);
  for (size_t chunk : {1, 2, 3, 5, 6})
    check(" --chunk " + std::to_string(chunk), chunk);
}

TEST_F(ToolsTest, RunLeavesNoPartOfLogits) {
  std::string out = folder + "/no/logits.npy";
  expectError("mambit-run " + model + " --ids " + writeIds({1}) + " --logits " +
                  out,
              "cannot write '" + out + "'");
  expectError("mambit-run " + model + " --ids " + writeIds({1}) +
                  " --logits /dev/full",
              "No space left");
  EXPECT_TRUE(std::filesystem::exists("/dev/full"));
}

/// The ids of the highest logits, one after another.
std::string greedyIds(std::vector<int32_t> ids, size_t count, size_t vocab) {
  ToyReference reference(vocab);
  std::vector<float> logits;
  for (int32_t id : ids)
    logits = reference.push(id, ids.size() == 1);
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    int32_t id = int32_t(std::max_element(logits.begin(), logits.end()) -
                         logits.begin());
    text += (i ? " " : "") + std::to_string(id);
    logits = reference.push(id, true);
  }
  return text + "\n";
}

TEST_F(ToolsTest, RunGeneratesIds) {
  std::vector<int32_t> ids = someIds(5);
  std::string command = "mambit-run " + model + " --ids " + writeIds(ids);
  Result result = run(command + " -n 20 --greedy-ids");
  EXPECT_EQ(result.out, greedyIds(ids, 20, kVocab));
  EXPECT_NE(result.err.find("time to first token: "), std::string::npos);
  EXPECT_NE(result.err.find("generated: 20 tokens, "), std::string::npos);
  // Without a tokenizer ids are what there is.
  EXPECT_EQ(run(command + " -n 20").out, greedyIds(ids, 20, kVocab));
  EXPECT_EQ(run(command + " -n 0").out, "");
  EXPECT_EQ(run(command + " -n 3 --logits " + folder + "/l.npy").out,
            greedyIds(ids, 3, kVocab));
}

TEST_F(ToolsTest, RunSamples) {
  std::string command =
      "mambit-run " + model + " --ids " + writeIds(someIds(5)) + " -n 20";
  // The toy's logits lie far apart; this brings them together.
  std::string hot = command + " --temperature 1e6 --seed ";
  EXPECT_EQ(run(hot + "1").out, run(hot + "1").out);
  EXPECT_NE(run(hot + "1").out, run(hot + "2").out);
  EXPECT_EQ(run(hot + "1 --top-k 1").out, run(command).out);
  EXPECT_EQ(run(command + " --temperature 0").out, run(command).out);
}

TEST_F(ToolsTest, RunStreamsText) {
  std::string text = makeTextModel();
  std::ofstream(folder + "/prompt") << "The database server";
  std::string flags = " -n 8 --ignore-eos";
  Result result =
      run("mambit-run " + text + " --prompt 'The database server'" + flags);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_FALSE(result.out.empty());
  EXPECT_EQ(result.out.back(), '\n');
  EXPECT_EQ(
      run("mambit-run " + text + " --prompt-file " + folder + "/prompt" + flags)
          .out,
      result.out);
  EXPECT_EQ(run("mambit-run " + text + " --prompt-file - " + flags + " <" +
                folder + "/prompt")
                .out,
            result.out);
  EXPECT_EQ(run("mambit-run " + text +
                " --prompt 'The database server' --echo" + flags)
                .out,
            "The database server" + result.out);
  expectError("mambit-run " + text + " --no-bos --prompt ''", "no tokens");
  expectError("mambit-run " + text + " --prompt-file " + folder,
              "cannot read '" + folder + "'");
}

std::string withoutNewline(std::string line) {
  EXPECT_EQ(line.back(), '\n');
  line.pop_back();
  return line;
}

// Runs that hand a state on give what one run gives: split while generating,
// after a prompt, and without a prompt.
TEST_F(ToolsTest, RunContinuesAState) {
  std::vector<int32_t> ids = someIds(12);
  std::string whole = greedyIds(ids, 20, kVocab), state = folder + "/a.state",
              command = "mambit-run " + model + " --greedy-ids";
  for (unsigned split : {0, 1, 7, 19}) {
    std::filesystem::remove(state);
    Result first = run(command + " --state " + state + " --ids " +
                       writeIds(ids) + " -n " + std::to_string(split));
    ASSERT_EQ(first.status, 0) << first.err;
    Result second = run(command + " --state " + state + " -n " +
                        std::to_string(20 - split));
    ASSERT_EQ(second.status, 0) << second.err;
    std::string line = withoutNewline(first.out);
    EXPECT_EQ(line + (line.empty() ? "" : " ") + second.out, whole);
  }
  // The session has taken in 12 + 20 tokens; now a prompt follows.
  std::vector<int32_t> all = ids;
  std::istringstream words(whole);
  for (int32_t id; words >> id;)
    all.push_back(id);
  ToyReference reference(kVocab);
  for (size_t i = 0; i < all.size(); ++i)
    reference.push(all[i], true);
  std::vector<float> logits;
  for (int32_t id : {3, 1, 2})
    logits = reference.push(id, false);
  Result third = run(command + " --state " + state + " --ids " +
                     writeIds({3, 1, 2}) + " -n 1");
  EXPECT_EQ(third.out,
            std::to_string(std::max_element(logits.begin(), logits.end()) -
                           logits.begin()) +
                "\n");
}

TEST_F(ToolsTest, RunRefusesAForeignState) {
  std::string state = folder + "/a.state", other = makeTextModel(),
              command = "mambit-run " + model + " -n 1 --state " + state;
  ASSERT_EQ(run(command + " --ids " + writeIds(someIds(4))).status, 0);
  std::string good = readFile(state);
  expectError("mambit-run " + other + " --prompt x --state " + state,
              state + ": was saved with another model");
  std::ofstream(state, std::ios::binary) << good.substr(0, good.size() - 1);
  expectError(command, state + ": truncated: expected " +
                           std::to_string(good.size()) + " bytes, found " +
                           std::to_string(good.size() - 1));
  std::ofstream(state, std::ios::binary) << good.substr(0, 20);
  expectError(command, "expected a saved session");
  expectError("mambit-run " + model + " --state " + model,
              "does not begin like one");
  expectError("mambit-run " + model + " --state " + folder, folder);
  std::filesystem::remove(state);
  expectError(command, "the prompt has no tokens");
  EXPECT_FALSE(std::filesystem::exists(state));
  expectError("mambit-run " + model + " -n 1 --ids " + writeIds(someIds(4)) +
                  " --state " + folder + "/no/a",
              "/no/a': No such file or directory");
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    EXPECT_EQ(entry.path().string().find(".partial"), std::string::npos);
}

/// The objects of JSON Lines.
std::vector<nlohmann::json> parseLines(const std::string &text) {
  std::vector<nlohmann::json> objects;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    objects.push_back(nlohmann::json::parse(line));
  return objects;
}

TEST_F(ToolsTest, RunPrintsJsonLines) {
  std::string text = makeTextModel(),
              command = "mambit-run " + text +
                        " --prompt 'The database server' -n 8 --ignore-eos";
  std::string plain = withoutNewline(run(command).out);
  Result result = run(command + " --jsonl");
  ASSERT_EQ(result.status, 0);
  EXPECT_EQ(result.err, ""); // its times are in the last object
  auto objects = parseLines(result.out);
  ASSERT_EQ(objects.size(), 10u);
  EXPECT_EQ(objects[0]["type"], "prompt");
  EXPECT_FALSE(objects[0].contains("text"));
  std::string joined;
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(objects[1 + i]["type"], "token");
    EXPECT_EQ(objects[1 + i]["index"], i);
    EXPECT_TRUE(objects[1 + i]["id"].is_number_integer());
    joined += objects[1 + i]["text"];
  }
  const auto &end = objects[9];
  EXPECT_EQ(end["type"], "end");
  EXPECT_EQ(end["reason"], "length");
  EXPECT_EQ(joined + end["text"].get<std::string>(), plain);
  EXPECT_EQ(end["tokens"], 8);
  EXPECT_EQ(end["prompt_tokens"], objects[0]["tokens"]);
  EXPECT_GE(end["prompt_seconds"], objects[0]["seconds"]);
  EXPECT_GT(end["seconds"], 0);
  // The last token was not taken in, as nothing was to follow.
  EXPECT_EQ(end["position"], end["prompt_tokens"].get<int>() + 7);
  EXPECT_EQ(parseLines(run(command + " --jsonl --echo").out)[0]["text"],
            "The database server");

  objects = parseLines(
      run("mambit-run " + model + " --jsonl -n 2 --ids " + writeIds({1, 2}))
          .out);
  ASSERT_EQ(objects.size(), 4u);
  EXPECT_FALSE(objects[1].contains("text")); // without a tokenizer
  EXPECT_FALSE(objects[3].contains("text"));
}

TEST_F(ToolsTest, RunStopsBeforeAString) {
  std::string text = makeTextModel(),
              command = "mambit-run " + text +
                        " --prompt 'The database server' -n 40 --ignore-eos";
  std::string plain = withoutNewline(run(command).out);
  // Whatever the toy says: strings of it that lie across tokens, and ones that
  // are no text of it.
  auto tokens = parseLines(run(command + " --jsonl").out);
  for (size_t i = 5; i < 30; i += 5) {
    std::string first = tokens[i]["text"], second = tokens[i + 1]["text"];
    if (first.empty() || second.empty())
      continue;
    // Its last character and the next one's first, which may be of many bytes.
    size_t last = first.size() - 1, next = 1;
    while (last > 0 && (first[last] & 0xc0) == 0x80)
      --last;
    while (next < second.size() && (second[next] & 0xc0) == 0x80)
      ++next;
    std::string stop = first.substr(last) + second.substr(0, next);
    std::ofstream(folder + "/stop") << stop;
    std::string flags =
        " --stop 'no such text' --stop \"$(cat " + folder + "/stop)\"";
    if (stop.find('\n') != std::string::npos)
      continue; // a shell drops it
    Result result = run(command + flags);
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(withoutNewline(result.out), plain.substr(0, plain.find(stop)));
    auto objects = parseLines(run(command + flags + " --jsonl").out);
    const auto &end = objects.back();
    EXPECT_EQ(end["reason"], "stop");
    EXPECT_EQ(end["stop"], stop);
    EXPECT_LE(end["tokens"], i + 2);
    std::string joined;
    for (const auto &object : objects)
      if (object["type"] != "prompt")
        joined += object["text"];
    EXPECT_EQ(joined, plain.substr(0, plain.find(stop)));
  }
  EXPECT_EQ(withoutNewline(run(command + " --stop 'no such text'").out), plain);
  expectError(command + " --stop ''", "found an empty one");
  expectError("mambit-run " + model + " --stop x --ids " + writeIds({1}),
              "no tokenizer");
}

TEST_F(ToolsTest, RunPenalisesRepetition) {
  std::string command = "mambit-run " + model + " -n 7 --ids " +
                        writeIds({0, 1}) + " --repeat-penalty ";
  // All logits are positive: a penalty beyond measure leaves only new tokens.
  std::istringstream words(run(command + "1e30").out);
  std::vector<int32_t> seen{0, 1};
  for (int32_t id; words >> id;)
    seen.push_back(id);
  std::sort(seen.begin(), seen.begin() + 7);
  for (int32_t i = 0; i < 7; ++i)
    EXPECT_EQ(seen[i], i);
  EXPECT_EQ(run(command + "1e30 --repeat-last-n 0").out,
            run(command + "1").out);
  EXPECT_NE(run(command + "1e30 --repeat-last-n 1").out,
            run(command + "1e30 --repeat-last-n -1").out);
  expectError(command + "0", "--repeat-penalty");
}

TEST_F(ToolsTest, RunPutsBosBeforeText) {
  std::string text = makeTextModel(), out = folder + "/logits.npy";
  auto rows = [&](const std::string &flags) {
    Result result = run("mambit-run " + text + " --logits " + out +
                        " --prompt '' " + flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return readNpy(out).shape[0];
  };
  EXPECT_EQ(rows(""), 1u);
  EXPECT_EQ(run("mambit-run " + text + " --logits " + out +
                " --prompt 'The database server' --no-bos")
                .status,
            0);
  uint64_t without = readNpy(out).shape[0];
  run("mambit-run " + text + " --logits " + out +
      " --prompt 'The database server'");
  EXPECT_EQ(readNpy(out).shape[0], without + 1);
}

//===----------------------------------------------------------------------===//
// mambit-eval
//===----------------------------------------------------------------------===//

double expectedNats(const std::vector<int32_t> &ids, size_t window,
                    size_t windows, size_t vocab) {
  double nats = 0;
  for (size_t w = 0; w < windows; ++w) {
    ToyReference reference(vocab);
    for (size_t t = 0; t + 1 < window; ++t) {
      std::vector<float> logits = reference.push(
          ids[w * window + t], (window - 1) - t / test::kToyPrefillTokens *
                                                  test::kToyPrefillTokens ==
                                   1);
      double top = *std::max_element(logits.begin(), logits.end()), sum = 0;
      for (float logit : logits)
        sum += std::exp(logit - top);
      nats += top + std::log(sum) - logits[ids[w * window + t + 1]];
    }
  }
  return nats / double(windows * (window - 1));
}

TEST_F(ToolsTest, EvalMeasures) {
  std::vector<int32_t> ids = someIds(60);
  std::string command = "mambit-eval " + model + " --ids " + writeIds(ids);
  auto check = [&](size_t window, size_t windows, const std::string &flags) {
    Result result =
        run(command + " --json --window " + std::to_string(window) + flags);
    ASSERT_EQ(result.status, 0) << result.err;
    auto json = nlohmann::json::parse(result.out);
    double nats = expectedNats(ids, window, windows, kVocab);
    EXPECT_NEAR(json["nats_per_token"].get<double>(), nats, 1e-9 * nats);
    EXPECT_EQ(json["windows"], windows);
    EXPECT_EQ(json["tokens"], windows * (window - 1));
    EXPECT_TRUE(json.contains("perplexity"));
    EXPECT_GE(json["seconds"].get<double>(), 0);
  };
  // Several windows in a call, and several calls in a window.
  for (size_t window : {2, 3, 4, 9, 10, 17, 18, 25, 60})
    check(window, 60 / window, "");
  check(4, 3, " --max-windows 3");
  check(25, 2, " --max-windows 100");
  expectError(command + " --window 61",
              "has 60 tokens, less than one window of 61");
  Result text = run(command + " --window 4");
  EXPECT_NE(text.out.find("15 of 4 tokens, 45 predictions"), std::string::npos)
      << text.out;
}

TEST_F(ToolsTest, EvalEncodesTextWithoutBos) {
  std::ofstream(folder + "/text") << "The database server listens.";
  std::string text = makeTextModel();
  std::string out = folder + "/logits.npy";
  run("mambit-run " + text + " --no-bos --prompt-file " + folder +
      "/text --logits " + out);
  uint64_t tokens = readNpy(out).shape[0];
  Result result = run("mambit-eval " + text + " --json --text " + folder +
                      "/text --window " + std::to_string(tokens));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out)["tokens"], tokens - 1);
  expectError("mambit-eval " + text + " --text " + folder + "/text --window " +
                  std::to_string(tokens + 1),
              "less than one window");
}

//===----------------------------------------------------------------------===//
// mambit-compare
//===----------------------------------------------------------------------===//

TEST(RelativeError, IsOfTheSecond) {
  EXPECT_EQ(relativeError({1, 2}, {1, 2}), 0);
  EXPECT_NEAR(relativeError({3, 5}, {3, 4}), 0.2, 1e-12);
  EXPECT_EQ(relativeError({0, 0}, {0, 0}), 0);
  EXPECT_TRUE(std::isinf(relativeError({1, 0}, {0, 0})));
  EXPECT_TRUE(std::isinf(relativeError({1, NAN}, {1, 2})));
  EXPECT_TRUE(std::isinf(relativeError({1, INFINITY}, {1, 2})));
}

TEST_F(ToolsTest, CompareFindsNothingInTheSame) {
  std::string ids = writeIds(someIds(5));
  Result result = run("mambit-compare " + model + " --threads 2 --ids " + ids);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("toy.mbt, cpu, baseline, 5 tokens"),
            std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("3 values compared, largest error 0: "),
            std::string::npos)
      << result.out;
  result = run("mambit-compare " + model + " --decode --all --ids " + ids);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("0  decode #2 head_decode: logits, 1 x 7\n"),
            std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("15 values compared"), std::string::npos);
}

TEST_F(ToolsTest, CompareRefuses) {
  auto refuse = [&](const std::string &flags, const std::string &part) {
    Result result = run("mambit-compare " + model + " " + flags);
    EXPECT_EQ(result.status, 1) << flags;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  };
  refuse("--ids " + writeIds(someIds(9)), "expected 1 to 8 tokens");
  refuse("--prompt x", "no tokenizer");
  refuse("", "exactly one of --ids and --prompt");
  std::string ids = writeIds(someIds(5));
  refuse(makeTextModel() + " --ids " + ids, "not of the same tokens and model");
  refuse(folder + " --ids " + ids, "index.json");
  refuse("--target baseline,warp --ids " + ids, "'warp'");
}

//===----------------------------------------------------------------------===//
// mambit-inspect
//===----------------------------------------------------------------------===//

TEST_F(ToolsTest, BenchMeasures) {
  Result result = run("mambit-bench " + model +
                      " --decode 1,3 --prompts 2 --prefill 9 --seconds 0 "
                      "--threads 2 --json");
  ASSERT_EQ(result.status, 0) << result.err;
  auto report = nlohmann::json::parse(result.out);
  EXPECT_EQ(report["device"], "cpu");
  EXPECT_EQ(report["threads"], 2);
  EXPECT_GT(report["read_bytes_per_second"], 1e8);
  ASSERT_EQ(report["measurements"].size(), 3u);

  // A table of 7 floats; of each sequence two states of 4 bytes, read and
  // written, and 7 floats of logits.
  struct {
    const char *program;
    unsigned sequences, tokens, weights, states, logits;
  } expected[] = {
      {"decode", 1, 1, 28, 16, 28},
      {"decode", 3, 3, 28, 48, 84},
      // A piece of 8 tokens, then the last ones, decoded.
      {"prefill", 2, 18, 84, 64, 56},
  };
  for (size_t i = 0; i < 3; ++i) {
    const auto &found = report["measurements"][i];
    EXPECT_EQ(found["program"], expected[i].program);
    EXPECT_EQ(found["sequences"], expected[i].sequences);
    EXPECT_EQ(found["tokens"], expected[i].tokens);
    EXPECT_EQ(found["bytes"]["weights"], expected[i].weights) << i;
    EXPECT_EQ(found["bytes"]["states"], expected[i].states) << i;
    EXPECT_EQ(found["bytes"]["logits"], expected[i].logits) << i;
    EXPECT_GE(found["steps"], 5);
    EXPECT_GE(found["us"], found["us_least"]);
    for (const char *key : {"greedy_us", "sampled_us"})
      if (i < 2)
        EXPECT_GT(found[key], 0);
      else
        EXPECT_TRUE(found[key].is_null());
    double floor = found["bytes"]["total"].get<double>() /
                   report["read_bytes_per_second"].get<double>() * 1e6;
    EXPECT_NEAR(found["floor_us"], floor, 1e-9 + floor * 1e-6);
    unsigned launches = 0;
    for (const auto &kernel : found["kernels"])
      launches += kernel["launches"].get<unsigned>();
    // Of the first piece no logits are wanted: two phases have no tiles.
    EXPECT_EQ(launches, i < 2 ? 4u : 10u);
  }

  result = run("mambit-bench " + model +
               " --decode 2 --prefill 0 --seconds 0 --kernels");
  EXPECT_EQ(result.status, 0) << result.err;
  for (const char *part :
       {"read bandwidth", "decode 2", "time by kernel", "scan_1"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part;
  EXPECT_EQ(result.out.find("prefill"), std::string::npos);
  expectError("mambit-bench " + model + " --decode 0", "--decode");
}

TEST_F(ToolsTest, InspectShowsAnArtifact) {
  Result summary = run("mambit-inspect " + model);
  EXPECT_EQ(summary.status, 0) << summary.err;
  for (const char *part : {"format version 1.", "producer     toy 1",
                           "target     baseline", "program    prefill, 3 "})
    EXPECT_NE(summary.out.find(part), std::string::npos) << part;

  Result views = run("mambit-inspect " + model +
                     " --programs --memory --kernels --weights");
  EXPECT_EQ(views.status, 0) << views.err;
  for (const char *part :
       {"#1 scan(x: arena ", "hash: state hash", "table: @table", "embed.x",
        "input .. #0", ".. output", "ceil(tokens / 3)", "table f32[7]"})
    EXPECT_NE(views.out.find(part), std::string::npos) << part;

  Result json = run("mambit-inspect --json " + model);
  auto report = nlohmann::json::parse(json.out);
  EXPECT_EQ(report["kind"], "artifact");
  EXPECT_EQ(report["weights"][0]["name"], "table");
  const auto &device = report["devices"][0];
  EXPECT_EQ(device["programs"].size(), 2u);
  for (const auto &program : device["programs"])
    EXPECT_LE(program["arena_peak"], program["arena_size"]);
  for (const auto &kernel : device["kernels"])
    for (const auto &phase : kernel["targets"][0]["phases"])
      EXPECT_GT(phase["code_bytes"], 0);
}

TEST_F(ToolsTest, InspectFilters) {
  std::string command = "mambit-inspect " + model + " --kernels --kernel ";
  Result result = run(command + "scan");
  EXPECT_NE(result.out.find("kernel scan"), std::string::npos);
  EXPECT_EQ(result.out.find("kernel embed"), std::string::npos);
  expectError(command + "scam", "no kernel 'scam' in the artifact; it has: "
                                "embed, scan, head, head_decode");
  expectError(command + "scan --target v9",
              "no target 'v9' in the artifact; it has: baseline");
}

TEST_F(ToolsTest, InspectGivesTheCode) {
  Result extracted =
      run("mambit-inspect " + model + " --extract " + folder + "/code");
  EXPECT_EQ(extracted.status, 0) << extracted.err;
  EXPECT_EQ(readFile(folder + "/code/baseline.elf"),
            readFile(test::toyFile("toy.so")));
  if (!MAMBIT_HAS_DISASSEMBLER) {
    expectError("mambit-inspect " + model + " --asm",
                "built without the compiler");
    return;
  }
  Result assembly = run("mambit-inspect " + model + " --asm --kernel scan");
  EXPECT_EQ(assembly.status, 0) << assembly.err;
  EXPECT_NE(assembly.out.find("scan_0 (scan, baseline; tiles: tokens)"),
            std::string::npos);
  EXPECT_NE(assembly.out.find("\tret"), std::string::npos);
  EXPECT_EQ(assembly.out.find("unknown"), std::string::npos);
}

TEST_F(ToolsTest, InspectShowsCodeForGpus) {
  test::ToyOptions options;
  options.image = test::toyFile("toy.so");
  options.cudaTargets = {{"sm_80", test::toyFile("toy_kernels.ptx"), ""}};
  artifact::Draft draft = test::makeToy(options);
  artifact::write(draft, model);
  std::string command = "mambit-inspect " + model + " --device cuda ";
  Result result = run(command + "--kernels --kernel scan");
  EXPECT_NE(result.out.find("kernel scan on cuda"), std::string::npos);
  EXPECT_EQ(result.out.find("on cpu"), std::string::npos);
  EXPECT_NE(
      result.out.find("threads  cluster  shared  static shared  registers"),
      std::string::npos)
      << result.out;
  result = run(command + "--asm --kernel scan");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("scan_1 (scan, sm_80; tiles: sequences)\n"
                            ".visible .entry scan_1("),
            std::string::npos);
  EXPECT_EQ(result.out.find(".entry head"), std::string::npos);
  EXPECT_EQ(
      nlohmann::json::parse(run(command + "--json").out)["devices"].size(), 1u);
  expectError("mambit-inspect " + model + " --device tpu",
              "no device 'tpu' in the artifact; it has: cpu, cuda");
}

TEST_F(ToolsTest, InspectVerifiesFirst) {
  std::fstream file(model, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(-1, std::ios::end);
  file.put('\x5a');
  file.close();
  Result result = run("mambit-inspect " + model);
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("checksum"), std::string::npos) << result.err;
}

TEST_F(ToolsTest, InspectShowsACheckpoint) {
  Result result = run("mambit-inspect " MAMBIT_CHECKPOINT);
  EXPECT_EQ(result.status, 0) << result.err;
  // Known of this checkpoint from elsewhere.
  for (const char *part :
       {"format       official", "d_model 384, 8 layers, vocabulary 4096",
        "62 exact zeros, 136 negative scales", "of which 7901184 1-bit",
        "tokenizer    tokenizer.model", "layer 7 out_proj, shift by column"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part;

  auto report = nlohmann::json::parse(
      run("mambit-inspect --json " MAMBIT_CHECKPOINT).out);
  EXPECT_EQ(report["kind"], "checkpoint");
  EXPECT_EQ(report["exact_zeros"], 62);
  EXPECT_EQ(report["negative_scales"], 136);
  EXPECT_EQ(report["linears"].size(), 16u);
  for (const auto &tensor : report["tensors"])
    EXPECT_TRUE(tensor["role"].is_string() || tensor["key"] == "lm_head.weight")
        << tensor;
  expectError("mambit-inspect --asm " MAMBIT_CHECKPOINT, "is a folder");
}

} // namespace
