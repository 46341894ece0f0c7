"""Why an operator of ONNX cannot be imported, for those of which there is more to say than that
nobody wrote it; ``onnx_import`` puts it into its refusal, ``docs/onnx_operators.py`` into the page.
"""

from __future__ import annotations

_REASONS = {
    "control flow": "If Loop Scan SequenceMap",
    "a recurrence": "GRU LSTM RNN CausalConvWithState LinearAttention",
    "sequences and optional values are no tensors": (
        "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt"
        " SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength"
        " SplitToSequence"
    ),
    "text": "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
    "its shape depends on words": "Compress NonMaxSuppression NonZero Unique",
    "which words it takes or puts depends on words": (
        "ArgMax ArgMin GatherElements GatherND GridSample Hardmax MaxRoiPool MaxUnpool OneHot"
        " ReverseSequence RoiAlign Scatter ScatterElements ScatterND TensorScatter TopK"
        " DeformConv"
    ),
    "random numbers": (
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
    ),
    "bits, not numbers": "BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor",
    "signals": "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT",
    "a loss, which only training has": "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    "its scales depend on words": "DynamicQuantizeLinear",
}
REFUSED = {name: reason for reason, names in _REASONS.items() for name in names.split()}


def why_refused(operator: str) -> str:
    """The sentence of a refusal."""
    reason = REFUSED.get(operator)
    return "there is no operator for it" + (f": {reason}" if reason else "")
