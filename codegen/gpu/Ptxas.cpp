//===- Ptxas.cpp - assembles PTX where there is an assembler ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Lower.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace mambit;

Expected<std::string> mambit::cuda::findPtxas(StringRef wanted) {
  if (wanted == "none")
    return "";
  if (wanted != "auto") {
    if (!sys::fs::can_execute(wanted))
      return createStringError("no program can be run as ptxas at '" + wanted +
                               "'");
    return wanted.str();
  }
  ErrorOr<std::string> path = sys::findProgramByName("ptxas");
  if (!path)
    path = sys::findProgramByName("ptxas", {"/usr/local/cuda/bin"});
  return path ? *path : std::string();
}

/// The number before a text in a line, such as `Used 32 registers`.
static unsigned getNumberBefore(StringRef line, StringRef text) {
  size_t end = line.find(text);
  if (end == StringRef::npos)
    return 0;
  StringRef before = line.take_front(end).rtrim();
  unsigned number = 0;
  before.substr(before.find_last_not_of("0123456789") + 1)
      .getAsInteger(10, number);
  return number;
}

/// Reads what `ptxas -v` says of each entry point.
static StringMap<Resources> parseReport(StringRef report) {
  StringMap<Resources> result;
  Resources *current = nullptr;
  for (StringRef line : split(report, '\n')) {
    if (line.contains("Compiling entry function '"))
      current = &result[line.split('\'').second.split('\'').first];
    if (!current)
      continue;
    if (line.contains("spill stores"))
      current->spillBytes = getNumberBefore(line, " bytes spill stores") +
                            getNumberBefore(line, " bytes spill loads");
    if (line.contains("registers")) {
      current->registers = getNumberBefore(line, " registers");
      current->staticSharedBytes = getNumberBefore(line, " bytes smem");
    }
  }
  return result;
}

Expected<cuda::Cubin> mambit::cuda::assemble(StringRef ptxas, StringRef ptx,
                                             const Target &target) {
  SmallString<128> input, output, report;
  for (auto [path, suffix] :
       {std::pair(&input, "ptx"), std::pair(&output, "cubin"),
        std::pair(&report, "txt")})
    if (std::error_code error =
            sys::fs::createTemporaryFile("mambit", suffix, *path))
      return createStringError(error, "cannot make a temporary file");
  FileRemover removeInput(input), removeOutput(output), removeReport(report);
  {
    std::error_code error;
    raw_fd_ostream stream(input, error);
    if (!error) {
      stream << ptx;
      stream.flush();
      error = stream.error();
      stream.clear_error();
    }
    if (error)
      return createStringError(error, "cannot write " + input + ": " +
                                          error.message());
  }

  std::string arch = "-arch=" + target.cpu;
  SmallVector<StringRef> arguments = {ptxas, "-v", arch, input, "-o", output};
  std::string message;
  int code = sys::ExecuteAndWait(ptxas, arguments, std::nullopt,
                                 {std::nullopt, report.str(), report.str()}, 0,
                                 0, &message);
  auto said = MemoryBuffer::getFile(report);
  StringRef text = said ? (*said)->getBuffer() : StringRef();
  if (code != 0) {
    // Kept, so that the command can be repeated.
    removeInput.releaseFile();
    return createStringError(Twine(join(arguments, " ")) + " failed: " +
                             (message.empty() ? text : StringRef(message)));
  }
  auto bytes = MemoryBuffer::getFile(output, /*IsText=*/false,
                                     /*RequiresNullTerminator=*/false);
  if (!bytes)
    return createStringError(bytes.getError(), "cannot read " + output);
  StringRef buffer = (*bytes)->getBuffer();
  return Cubin{std::vector<uint8_t>(buffer.bytes_begin(), buffer.bytes_end()),
               parseReport(text)};
}
