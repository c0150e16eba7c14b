//===- ElfImage.cpp - functions of a shared object ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-inspect/ElfImage.h"

#include "runtime/Error.h"

#include <algorithm>
#include <cstring>
#include <elf.h>

using namespace mambit;
using namespace mambit::tools;
using artifact::Bytes;

static Bytes slice(Bytes bytes, uint64_t offset, uint64_t size) {
  if (offset > bytes.size || size > bytes.size - offset)
    fail("a table or function of the code image lies outside of it");
  return {bytes.data + offset, size};
}

/// Element `index` of a table; it need not be aligned.
template <typename T>
static T element(Bytes table, uint64_t index) {
  T value;
  if (index >= table.size / sizeof(T))
    fail("a table of the code image is too short");
  std::memcpy(&value, table.data + index * sizeof(T), sizeof(T));
  return value;
}

std::map<std::string, ElfFunction> tools::readElfFunctions(Bytes image) {
  if (image.size < sizeof(Elf64_Ehdr) ||
      std::memcmp(image.data, ELFMAG, SELFMAG) != 0 ||
      image.data[EI_CLASS] != ELFCLASS64 || image.data[EI_DATA] != ELFDATA2LSB)
    fail("the code image is not a little-endian 64-bit ELF file");
  auto header = element<Elf64_Ehdr>(image, 0);
  Bytes segments = slice(image, header.e_phoff,
                         uint64_t(header.e_phnum) * sizeof(Elf64_Phdr));
  Bytes sections = slice(image, header.e_shoff,
                         uint64_t(header.e_shnum) * sizeof(Elf64_Shdr));

  auto bytesAt = [&](uint64_t address, uint64_t size) {
    for (unsigned i = 0; i < header.e_phnum; ++i) {
      auto segment = element<Elf64_Phdr>(segments, i);
      if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
          address - segment.p_vaddr < segment.p_filesz)
        return slice(slice(image, segment.p_offset, segment.p_filesz),
                     address - segment.p_vaddr, size);
    }
    fail("a function of the code image lies in no segment");
  };

  std::map<std::string, ElfFunction> functions;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    auto section = element<Elf64_Shdr>(sections, i);
    if (section.sh_type != SHT_DYNSYM)
      continue;
    Bytes symbols = slice(image, section.sh_offset, section.sh_size);
    auto strings = element<Elf64_Shdr>(sections, section.sh_link);
    Bytes names = slice(image, strings.sh_offset, strings.sh_size);
    for (uint64_t s = 0; s < symbols.size / sizeof(Elf64_Sym); ++s) {
      auto symbol = element<Elf64_Sym>(symbols, s);
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC ||
          symbol.st_shndx == SHN_UNDEF)
        continue;
      Bytes name =
          slice(names, symbol.st_name,
                names.size - std::min<uint64_t>(symbol.st_name, names.size));
      const char *text = reinterpret_cast<const char *>(name.data);
      functions[std::string(text, strnlen(text, name.size))] = {
          symbol.st_value, bytesAt(symbol.st_value, symbol.st_size)};
    }
  }
  return functions;
}
