"""The flags of `precompute`, by what they are about."""

import argparse
from collections.abc import Callable
from typing import Any

Add = Callable[..., Any]


def add_precompute_flags(parser: argparse.ArgumentParser) -> None:
    """Adds all flags to `parser`; those that were not given come out as None."""
    for title, add_flags in {**SHARED_GROUPS, **_OWN_GROUPS}.items():
        add_flags(parser.add_argument_group(title).add_argument)


def _add_models(add: Add) -> None:
    add("--model_base_path", metavar="DIR", help="directory with a subdirectory for each version")
    add("--model_config_file", metavar="FILE", help="several models, as text proto, instead")
    add("--model_name", metavar="NAME", help="name in the output; or the model of the config file")
    add("--model_version", metavar="V", help="latest (default), latest:2, all, 3 or 3,5")
    add("--version_label", metavar="LABEL", help="the version so called in the config file")
    add("--signature_name", metavar="NAME", help="signature to run (default: serving_default)")
    add("--method", metavar="M", help="predict (default), classify or regress")


def _add_input(add: Add) -> None:
    add(
        "--input",
        action="append",
        metavar="GLOB",
        help="quoted glob, file, directory or @LIST; repeatable",
    )
    add("--input_format", metavar="F", help="parquet, tfrecord, csv or jsonl (default: by suffix)")
    add("--limit", type=_whole_number, metavar="N", help="only the first N rows")
    add("--sample", type=float, metavar="X", help="only a share of the rows, such as 0.01")
    add("--sample_seed", type=_whole_number, metavar="N", help="for another sample (default: 0)")
    add("--crc", metavar="C", help="check (default) or ignore the checksums of TFRecords")


def add_binding_flags(add: Add) -> None:
    """Adds the flags that say how data become inputs of a model."""
    add(
        "--input_map",
        action="append",
        metavar="T=C",
        help="input=column or input=[c1,c2]; repeatable",
    )
    add("--preprocess", metavar="M:F", help="package.module:function, RecordBatch to RecordBatch")
    add("--on_null", metavar="WHAT", help="error (default), default:VALUE or dead_letter")
    add(
        "--pad_variable_length_inputs",
        action="store_true",
        default=None,
        help="pad lists of varying length, also for inputs without a mask or lengths",
    )
    add("--pad_values", action="append", metavar="T=V", help="what to pad with (default: zero)")
    add("--length_ladder", type=_whole_numbers, metavar="N,N", help="lengths to pad to")


def _add_output(add: Add) -> None:
    add("--output", default="", metavar="DIR", help="where to write (required)")
    add(
        "--output_format",
        metavar="F",
        help="parquet (default), tfrecord, tfrecord_gzip, prediction_log or jsonl",
    )
    add(
        "--log_inputs",
        action="store_true",
        default=None,
        help="with prediction_log: requests, too, as a warm-up file has them",
    )
    add(
        "--key",
        metavar="COLUMN",
        help="column that identifies a row (default: source file and row)",
    )
    add("--passthrough", action="append", metavar="C1,C2", help="further columns to copy")
    add(
        "--output_tensors",
        action="append",
        metavar="T,OLD=NEW",
        help="outputs to keep (default: all)",
    )
    add("--postprocess", metavar="M:F", help="likewise, applied to the output")
    add("--if_exists", default="error", metavar="WHAT", help="error (default), overwrite or resume")
    add(
        "--take_over",
        action="store_true",
        help="take the lock of a launcher that is gone (remote output)",
    )
    add(
        "--deterministic",
        action="store_true",
        default=None,
        help="byte-identical output on every run",
    )


def _add_failures(add: Add) -> None:
    add("--on_error", metavar="WHAT", help="fail (default) or dead_letter: put aside what fails")
    add(
        "--max_failed_fraction",
        type=float,
        metavar="F",
        help="stop if more of the records were put aside (default: 1)",
    )
    add(
        "--max_failed_rows",
        type=_whole_number,
        metavar="N",
        help="stop if more records were put aside (default: no bound)",
    )
    add("--max_unit_retries", type=_whole_number, metavar="N", help="after I/O errors (default: 3)")
    add(
        "--batch_timeout_secs",
        type=float,
        metavar="S",
        help="a longer model call fails its unit (default: 600)",
    )


def _add_batching(add: Add) -> None:
    add(
        "--dedupe",
        action="store_true",
        default=None,
        help="compute each distinct input of a unit once; not for models that draw random numbers",
    )
    add(
        "--max_batch_size",
        type=_batch_size,
        metavar="N",
        help="rows of a batch; auto (default) finds them by measuring",
    )
    add(
        "--max_batch_cells",
        type=_whole_number,
        metavar="N",
        help="rows times padded length of a batch (default: found by measuring)",
    )
    add(
        "--allowed_batch_sizes",
        type=_whole_numbers,
        metavar="N,N",
        help="sizes that batches are padded to (default: any)",
    )
    add("--batch_padding_policy", metavar="P", help="PAD_UP (default) or BATCH_DOWN")
    add(
        "--batch_timeout_micros",
        type=_whole_number,
        metavar="N",
        help="how long a batch that is not full waits for rows (default: 0)",
    )
    add(
        "--max_enqueued_batches",
        type=_whole_number,
        metavar="N",
        help="batches waiting per model (default: 4 per batch thread)",
    )
    add(
        "--batching_parameters_file",
        metavar="FILE",
        help="text proto BatchingParameters, as of a model server; flags override it",
    )
    add(
        "--num_batch_threads",
        type=_whole_number,
        metavar="N",
        help="model calls at a time (default: cores)",
    )


def _add_devices(add: Add) -> None:
    add("--devices", metavar="D,D", help="a replica of each model on each, or auto: every GPU")
    add(
        "--gpu_memory_limit_mib",
        type=_whole_number,
        metavar="N",
        help="what TensorFlow may take of each GPU (default: what it needs)",
    )
    add("--jit_compile", action="store_true", default=None, help="let XLA compile the models")
    add(
        "--mixed_precision",
        action="store_true",
        default=None,
        help="compute in 16 bits where TensorFlow holds that harmless",
    )
    add(
        "--warm_up_batch_sizes",
        action="store_true",
        default=None,
        help="run each model at every allowed batch size while it loads",
    )


def _add_trial(add: Add) -> None:
    add("--dry_run", action="store_true", help="plan, bind, run one batch, print the plan and stop")


def _add_job(add: Add) -> None:
    add(
        "--unit_bytes",
        type=_whole_number,
        metavar="N",
        help="input bytes of a unit (default: 64 MiB)",
    )
    add("--unit_rows", type=_whole_number, metavar="N", help="rows of a unit (default: 1,000,000)")
    add(
        "--max_in_flight_bytes",
        type=_whole_number,
        metavar="N",
        help="of a worker process (default: 192 MiB)",
    )
    add("--verbose", action="store_true", help="tracebacks, and the libraries' own logs")


def _whole_number(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(_whole_number(part) for part in text.split(","))


def _batch_size(text: str) -> int | str:
    try:
        return text if text == "auto" else _whole_number(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected a whole number or auto, got {text!r}") from None


# Of every job that runs models over data.
SHARED_GROUPS: dict[str, Callable[[Add], None]] = {
    "models": _add_models,
    "input": _add_input,
    "what the model is fed": add_binding_flags,
    "failures": _add_failures,
    "batching": _add_batching,
    "devices": _add_devices,
    "the job": _add_job,
}
_OWN_GROUPS: dict[str, Callable[[Add], None]] = {"output": _add_output, "a trial": _add_trial}
