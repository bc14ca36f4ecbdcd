from pathlib import Path

import pytest

from app.pollers.groups import mask
from app.settings import STATS_GROUPS, SettingsError, load


def test_without_settings_the_agent_is_read_only() -> None:
    settings = load({})
    assert (settings.access, settings.secrets) == ("read-only", False)
    assert (settings.stats_interval, settings.heartbeat_interval) == (10, 5)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('host = "from-file"\naccess = "full"\n')
    settings = load({"LIBVIRT_AMQP_HOST": "from-environment"}, file)
    assert (settings.host, settings.access) == ("from-environment", "full")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WORKRES", "3", "is no setting"),
        ("ACCESS", "everything", "read-only"),
        ("STATS_INTERVAL", "0", "greater than or equal to 0.05"),
        ("STATS_INTERVAL", "1e-300", "greater than or equal to 0.05"),
        ("HEARTBEAT_INTERVAL", "0.0001", "greater than or equal to 0.05"),
        ("STATS_INTERVAL", "soon", "number"),
        ("HOST", "any", "no host's name"),
        ("BROKER_URL", "http://user:hunter2@x", "amqp://"),
        ("BROKER_URL", "amqp://user:hunter2@x:0/", "amqp://"),
        ("BROKER_URL", f"amqp://user:hunter2@{'x' * 64}.example/", "host"),
        ("SECRETS", "perhaps", "boolean"),
        ("STATS_GROUPS", "state,cpu", "'cpu' is no group of statistics (there are state, cpu-total, balloon, "),
        ("STATS_GROUPS_INTERVAL", "0.001", "greater than or equal to 0.05"),
        ("STATS_CPU_SHARE", "1e-320", "greater than or equal to 0.001"),
        ("STATS_CPU_SHARE", "101", "less than or equal to 100"),
        ("STATS_PER_HOST", "perhaps", "boolean"),
        ("STATS_FULL_EVERY", "-1", "greater than 0"),
        ("METRICS_LISTEN", "9177", "host:port"),
        ("METRICS_LISTEN", ":9177", "host:port"),
        ("METRICS_LISTEN", "::1:9177", "host:port"),
        ("METRICS_LISTEN", "127.0.0.1:0", "host:port"),
        ("METRICS_LISTEN", "127.0.0.1:65536", "host:port"),
        ("METRICS_LISTEN", "http://127.0.0.1:9177", "host:port"),
        ("METRICS_DOMAINS", "some", "boolean"),
        ("METRICS_NAMES", "own", "inovex"),
    ],
)
def test_an_impossible_setting_is_one_readable_line(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({f"LIBVIRT_AMQP_{name}": value})
    text = str(error.value)
    assert says in text
    assert f"LIBVIRT_AMQP_{name}" in text
    assert "\n" not in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("value", "listen"),
    [
        ("127.0.0.1:9177", ("127.0.0.1", 9177)),
        ("[::1]:9177", ("::1", 9177)),
        ("[::]:1", ("::", 1)),
        ("metrics.example.com:65535", ("metrics.example.com", 65535)),
    ],
)
def test_where_to_listen_is_a_host_and_a_port(value: str, listen: tuple[str, int]) -> None:
    assert load({"LIBVIRT_AMQP_METRICS_LISTEN": value}).metrics_listen == listen


def test_without_a_setting_nothing_is_listened_on() -> None:
    assert load({}).metrics_listen is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('access = "everything"', "access: Input should be 'read-only' or 'full'"),
        ('ACCESS = "everything"', "ACCESS: "),
        ("workres = 3", "workres is no setting (there are broker_url, "),
        ("stats_interval = 0", "stats_interval: "),
        ("[host]", "host: "),
        ('"ho\\nst" = "x"', "'ho\\nst' is no setting"),
        ('broker_url = "http://user:hunter2@x"', "broker_url: needs the form"),
    ],
)
def test_an_impossible_setting_of_the_file_is_named_as_it_stands_there(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f"{line}\n")
    with pytest.raises(SettingsError) as error:
        load({"LIBVIRT_AMQP_URI": "test:///default"}, file)
    text = str(error.value)
    assert text.startswith(f"{file}: {says}")
    assert "LIBVIRT_AMQP_" not in text
    assert "\n" not in text
    assert "hunter2" not in text


def test_groups_of_statistics_are_named_as_virsh_domstats_does_in_a_line_or_a_list(tmp_path: Path) -> None:
    assert load({"LIBVIRT_AMQP_STATS_GROUPS": "cpu-total, balloon"}).stats_groups == ("cpu-total", "balloon")
    assert load({"LIBVIRT_AMQP_STATS_GROUPS": ""}).stats_groups == ()
    file = tmp_path / "agent.toml"
    file.write_text('stats_groups = ["block", "interface"]\n')
    assert load({}, file).stats_groups == ("block", "interface")


def test_every_group_of_statistics_is_one_of_the_installed_libvirt() -> None:
    assert mask(STATS_GROUPS).bit_count() == len(STATS_GROUPS)


def test_of_two_places_the_one_that_counts_is_named(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('access = "full"\n')
    with pytest.raises(SettingsError, match=r"^LIBVIRT_AMQP_ACCESS: "):
        load({"LIBVIRT_AMQP_ACCESS": "everything"}, file)


def test_a_file_that_is_no_toml_is_one_readable_line(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("host = ")
    with pytest.raises(SettingsError, match="no TOML"):
        load({}, file)


def test_the_password_does_not_show() -> None:
    settings = load({"LIBVIRT_AMQP_BROKER_URL": "amqp://user:hunter2@broker/"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)


def test_an_empty_state_dir_is_none() -> None:
    """As a container's environment may have it; it would be the folder in which the agent was started."""
    assert load({"LIBVIRT_AMQP_STATE_DIR": ""}).state_dir is None
