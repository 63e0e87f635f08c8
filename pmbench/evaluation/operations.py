"""Operations that a sealed program may use: functions of its inputs that open no file and draw no numbers."""

from __future__ import annotations

import re

_NAMES = """
_assert_async _assert_scalar _assert_tensor_metadata _log_softmax _native_batch_norm_legit_no_training
_softmax _to_copy _unsafe_view _weight_norm abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d add addbmm addcdiv addcmul
addmm addmv alias all amax amin aminmax any arange argmax argmin argsort asin asinh atan atan2 atanh
avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear bitwise_and bitwise_not bitwise_or bitwise_xor
bmm bucketize cat cdist ceil celu channel_shuffle chunk clamp clamp_max clamp_min clone column_stack concat
concatenate constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d
conv_transpose3d convolution copy copysign cos cosh cosine_similarity count_nonzero cross cummax cummin
cumprod cumsum deg2rad detach diag diag_embed diagonal diff dist div divide dot dropout einsum elu embedding
eq erf erfc exp exp2 expand expand_as expm1 eye feature_dropout fft_fft fft_fft2 fft_ifft fft_irfft fft_rfft
fft_rfft2 fill flatten flip floor floor_divide fmax fmin fmod frac frobenius_norm full full_like gather ge
gelu getitem glu greater greater_equal grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru gt
hardsigmoid hardswish hardtanh heaviside huber_loss hypot imag index index_add index_copy index_fill
index_put index_select inner instance_norm isfinite isinf isnan kthvalue l1_loss layer_norm le leaky_relu
lerp less less_equal lift_fresh_copy linalg_norm linalg_vector_norm linear linspace log log10 log1p log2
log_sigmoid log_softmax logaddexp logical_and logical_not logical_or logical_xor logsigmoid logsumexp lstm
lt masked_fill masked_scatter masked_select matmul max max_pool1d max_pool2d max_pool2d_with_indices
max_pool3d max_pool3d_with_indices maximum mean median meshgrid min minimum mish mm mode moveaxis movedim
mse_loss mul multiply mv nan_to_num narrow native_batch_norm native_group_norm native_layer_norm ne neg
negative new_full new_ones new_zeros nonzero norm normalize not_equal one_hot ones ones_like outer pad
pairwise_distance permute pixel_shuffle pixel_unshuffle polar pow prelu prod quantile rad2deg real
reciprocal reflection_pad1d reflection_pad2d relu relu6 remainder repeat repeat_interleave replication_pad1d
replication_pad2d replication_pad3d reshape reshape_as roll rot90 round rsqrt rsub scalar_tensor
scaled_dot_product_attention scatter scatter_add scatter_reduce searchsorted select select_scatter selu sgn
sigmoid sign silu sin sinc sinh slice slice_scatter smooth_l1_loss softmax softplus softshrink sort split
split_with_sizes sqrt square squeeze stack std std_mean sub subtract sum swapaxes swapdims sym_numel
sym_size sym_storage_offset sym_stride t take take_along_dim tan tanh tensor_split threshold tile to topk
transpose tril triu true_divide trunc type_as unbind unflatten unfold unsqueeze upsample_bilinear2d
upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean
vdot view view_as view_as_complex view_as_real where xlogy zero zeros zeros_like
"""
NAMES = frozenset(_NAMES.split())
"""Names of ATen operations, without overload; each may also change its first argument in place (`relu_`)."""
_ATEN = re.compile(r"torch\.ops\.aten\.(\w+?)\.\w+")
_PLAIN = re.compile(
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|getitem|eq|ne|lt|le|gt|ge)"
    r"|torch\.sym_(max|min|int|float|not|ite)|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
)
_WORDS = frozenset(
    {
        *("none", "tanh"),  # gelu
        *("mean", "sum", "prod", "amax", "amin", "batchmean"),  # reductions
        *("floor", "trunc"),  # div
        *("constant", "reflect", "replicate", "circular"),  # pad
        *("nearest", "linear", "bilinear", "bicubic", "trilinear"),  # interpolation
        *("ij", "xy", "fro", "nuc", "left", "right", "backward", "ortho", "forward", "cpu", "cuda"),
    }
)
_EQUATION = re.compile(r"[A-Za-z., >-]{1,64}")
ARGUMENTS = frozenset(
    f"as_{name}"
    for name in (
        *("none", "tensor", "tensors", "nested_tensors", "optional_tensor", "optional_tensors"),
        *("int", "ints", "int_lists", "float", "floats", "float_lists", "bool", "bools", "complex"),
        *("sym_int", "sym_ints", "sym_float", "sym_floats", "sym_bool", "sym_bools", "name", "expr"),
        *("scalar_type", "memory_format", "layout", "device", "graph", "string", "strings"),
    )
)
"""Kinds of arguments; files, objects and operators are none of them."""


def is_known(target: str) -> bool:
    """Whether a node may call `target`, such as "torch.ops.aten.relu.default"."""
    if _PLAIN.fullmatch(target):
        return True
    found = _ATEN.fullmatch(target)
    return found is not None and (found[1] in NAMES or found[1].removesuffix("_") in NAMES)


def is_word(text: str, target: str) -> bool:
    """Whether a node that calls `target` may have the string argument `text`."""
    if target.startswith("torch.ops.aten._assert_"):
        return len(text) <= 1000
    return text in _WORDS or (target.startswith("torch.ops.aten.einsum.") and bool(_EQUATION.fullmatch(text)))
