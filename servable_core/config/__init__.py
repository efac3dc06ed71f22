"""The model server's text protos, read as they are into options of this package, and nowhere else."""

from servable_core.config.batching_parameters import BatchingParameters as BatchingParameters
from servable_core.config.batching_parameters_file import (
    parse_batching_parameters as parse_batching_parameters,
)
from servable_core.config.batching_parameters_file import (
    read_batching_parameters as read_batching_parameters,
)
from servable_core.config.batching_parameters_file import (
    read_model_batching_parameters as read_model_batching_parameters,
)
from servable_core.config.model_config_file import parse_server_config as parse_server_config
from servable_core.config.model_config_file import read_server_config as read_server_config
from servable_core.config.server_config import ModelConfig as ModelConfig
from servable_core.config.server_config import ServerConfig as ServerConfig
