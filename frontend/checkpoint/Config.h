//===- Config.h - what model a checkpoint holds ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_CONFIG_H
#define MAMBIT_FRONTEND_CHECKPOINT_CONFIG_H

#include "frontend/checkpoint/Checkpoint.h"

#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace mambit::checkpoint {

struct ConfigFile;

/// Which family wrote the checkpoint. `official` and `dense` are those of
/// mamba_ssm's modules, with and without 1-bit linears; `huggingFace` is
/// transformers' Mamba2ForCausalLM (which may hold 1-bit linears, too).
enum class Format { official, dense, huggingFace };

/// "official", "dense", "hf".
const char *formatName(Format format);

/// How a scale or shift lies over the matrix [rows, columns] of a 1-bit linear.
enum class Pattern {
  column, // [1, columns]: one a column, that is, an input
  row,    // [rows, 1]: one a row, that is, an output
  single, // []: one for all (any shape of one element)
};

/// "column", "row", "single".
const char *patternName(Pattern pattern);

/// A projection y = x W^T + bias. If binarised,
/// W = scale * sign(weight) + shift, with sign(0) = 0 and scales of any sign.
struct Linear {
  int64_t rows = 0;    // outputs
  int64_t columns = 0; // inputs
  bool binarised = false;
  Pattern scalePattern = Pattern::column; // if binarised
  Pattern shiftPattern = Pattern::column; // if binarised

  // Keys of its tensors; empty where there is none.
  std::string
      weight; // [rows, columns]; f64, f32, f16, bf16, and i8 if binarised
  std::string scale; // if binarised, see Pattern
  std::string shift; // if binarised, see Pattern
  std::string bias;  // [rows]
};

/// Keys of a layer's tensors. All but the 1-bit weights are floating-point.
struct Layer {
  std::string norm; // [dModel], weight of the block's RMSNorm
  Linear inProj;    // [inProjRows, dModel]: z, x, B, C, dt
  std::string
      convWeight;        // [convChannels, 1, dConv]; the last tap is the newest
  std::string convBias;  // [convChannels], or empty
  std::string dtBias;    // [nHeads]
  std::string aLog;      // [nHeads]; A = -exp(aLog)
  std::string d;         // [nHeads], the skip's weight
  std::string gatedNorm; // [dInner], weight of the RMSNorm after the gate
  Linear outProj;        // [dModel, dInner]
};

/// A Mamba-2 model: what config.json says and what the tensors' shapes say,
/// reconciled. Every tensor named here exists with the shape stated.
struct ModelConfig {
  Format format = Format::official;

  int64_t vocabSize = 0; // rows of the embedding
  int64_t dModel = 0;
  int64_t nLayer = 0;
  int64_t dInner = 0; // nHeads * headdim
  int64_t nHeads = 0;
  int64_t headdim = 0;
  int64_t dState = 0;
  int64_t nGroups = 0; // groups of heads that share B and C; divides nHeads
  int64_t dConv = 0;   // taps, at least 2
  int64_t chunkSize = 256;

  double normEps = 1e-5; // of the blocks' norms and the final one
  double gatedNormEps = 1e-5;
  /// Groups of channels that the gated norm normalises apart: nGroups in
  /// mamba_ssm, 1 in transformers.
  int64_t gatedNormGroups = 1;

  double dtMin = 0; // dt is clamped to [dtMin, dtMax] after the softplus
  double dtMax = std::numeric_limits<double>::infinity();

  bool tieEmbeddings = true; // then lmHead is the embedding's key
  bool projBias = false;     // both projections have a bias
  bool convBias = true;

  std::string embedding; // key of [vocabSize, dModel]
  std::string finalNorm; // key of [dModel]
  std::string lmHead;    // key of [vocabSize, dModel]
  std::vector<Layer> layers;

  std::optional<int64_t> bosId, eosId; // of the config, else of the tokenizer

  /// Channels of the convolution: x, B, C.
  int64_t convChannels() const { return dInner + 2 * nGroups * dState; }
  /// Rows of inProj: z, then x, B, C, then dt.
  int64_t inProjRows() const { return dInner + convChannels() + nHeads; }
  /// Whether any linear is 1-bit.
  bool binarised() const;
};

/// Reads config.json of the checkpoint's folder and reconciles it with the
/// tensors. Throws Error, also if the architecture or an option is none of
/// those implemented.
ModelConfig readModelConfig(const Checkpoint &checkpoint);

/// Brings together what a config says and what the tensors are: what it leaves
/// out comes from their shapes, what it says must agree with them. Throws
/// Error, naming file, key, expected and found, if they disagree, and if a
/// tensor is missing, of a wrong type or of no known role. The formulas of the
/// shapes are those of mamba_ssm's Mamba2 module.
ModelConfig reconcile(const Checkpoint &checkpoint, const ConfigFile &file);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_CONFIG_H
