"""Batching: tasks of many threads in, batches of bounded size out, shared threads, results back per task."""

from servable_core.batching.batch import Batch as Batch
from servable_core.batching.batch import BatchTask as BatchTask
from servable_core.batching.batch_queue import BatchQueue as BatchQueue
from servable_core.batching.batch_queue import QueueOptions as QueueOptions
from servable_core.batching.batch_scheduler import BatchScheduler as BatchScheduler
from servable_core.batching.batching_session import BatchingSession as BatchingSession
from servable_core.batching.batching_session import BatchingStatistics as BatchingStatistics
from servable_core.batching.session_task import SessionTask as SessionTask
from servable_core.batching.shared_batch_queue import SharedBatchQueue as SharedBatchQueue
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchScheduler as SharedBatchScheduler,
)
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchSchedulerOptions as SharedBatchSchedulerOptions,
)
from servable_core.batching.splitting import split_sizes as split_sizes
