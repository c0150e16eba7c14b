//===- ConfigFile.h - what a config.json says --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_CONFIGFILE_H
#define MAMBIT_FRONTEND_CHECKPOINT_CONFIGFILE_H

#include "frontend/checkpoint/Json.h"

#include <optional>

namespace mambit::checkpoint {

/// A setting, if the config has it, and the key that it goes by.
template <typename T>
struct Setting {
  std::optional<T> value;
  std::string key;
};

/// The settings of a config.json that bear on the model, in either family's
/// spelling. Absent and null are the same.
struct ConfigFile {
  bool isHuggingFace = false;

  Setting<int64_t> vocabSize, dModel, nLayer, nHeads, headdim, dInner, dState,
      nGroups, dConv, chunkSize, bosId, eosId;
  Setting<int64_t> vocabMultiple; // of the embedding's rows; mamba_ssm
  Setting<double> expand, normEps;
  Setting<std::vector<double>> dtLimit; // two, ascending
  Setting<bool> tieEmbeddings, projBias, convBias;

  int64_t defaultGroups = 1; // the family's
};

/// Interprets the JSON of a config. `hasPluralEmbeddings` decides the family of
/// a config that does not show it. Throws Error for an unknown architecture, an
/// option that is not implemented, and a value of a wrong type or range.
ConfigFile readConfigFile(const Json &config, bool hasPluralEmbeddings);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_CONFIGFILE_H
