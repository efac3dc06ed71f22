"""Batching: tasks of many threads in, batches of bounded size out, shared threads, results back per task."""

from servable_core.batching.adaptive_shared_batch_scheduler import (
    AdaptiveSharedBatchScheduler as AdaptiveSharedBatchScheduler,
)
from servable_core.batching.adaptive_shared_batch_scheduler import (
    AdaptiveSharedBatchSchedulerOptions as AdaptiveSharedBatchSchedulerOptions,
)
from servable_core.batching.basic_batch_scheduler import BasicBatchScheduler as BasicBatchScheduler
from servable_core.batching.batch import Batch as Batch
from servable_core.batching.batch import BatchTask as BatchTask
from servable_core.batching.batch_queue import BatchPaddingPolicy as BatchPaddingPolicy
from servable_core.batching.batch_queue import BatchQueue as BatchQueue
from servable_core.batching.batch_queue import QueueOptions as QueueOptions
from servable_core.batching.batch_runner import RunOptions as RunOptions
from servable_core.batching.batch_scheduler import BatchScheduler as BatchScheduler
from servable_core.batching.batch_scheduler_retrier import (
    BatchSchedulerRetrier as BatchSchedulerRetrier,
)
from servable_core.batching.batch_scheduler_retrier import (
    BatchSchedulerRetrierOptions as BatchSchedulerRetrierOptions,
)
from servable_core.batching.batch_sizing import Calibration as Calibration
from servable_core.batching.batching_session import BatchingSession as BatchingSession
from servable_core.batching.batching_statistics import BatchingStatistics as BatchingStatistics
from servable_core.batching.length_ladder import LengthLadder as LengthLadder
from servable_core.batching.padding import DerivedInput as DerivedInput
from servable_core.batching.padding import PaddingOptions as PaddingOptions
from servable_core.batching.ragged_array import RaggedArray as RaggedArray
from servable_core.batching.row_errors import RowErrors as RowErrors
from servable_core.batching.serial_device_batch_scheduler import (
    SerialDeviceBatchScheduler as SerialDeviceBatchScheduler,
)
from servable_core.batching.serial_device_batch_scheduler import (
    SerialDeviceBatchSchedulerOptions as SerialDeviceBatchSchedulerOptions,
)
from servable_core.batching.session_task import SessionTask as SessionTask
from servable_core.batching.shared_batch_queue import SharedBatchQueue as SharedBatchQueue
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchScheduler as SharedBatchScheduler,
)
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchSchedulerOptions as SharedBatchSchedulerOptions,
)
from servable_core.batching.splitting import split_sizes as split_sizes
from servable_core.batching.streaming_batch import StreamingBatch as StreamingBatch
from servable_core.batching.streaming_batch_scheduler import (
    StreamingBatchScheduler as StreamingBatchScheduler,
)
from servable_core.batching.streaming_batch_scheduler import (
    StreamingBatchSchedulerOptions as StreamingBatchSchedulerOptions,
)
from servable_core.batching.task_future import TaskFuture as TaskFuture
