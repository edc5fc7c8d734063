"""Fast tests first: a broken rule shows within seconds, the slow ones follow."""

from hypothesis import settings

# no time limit for a single example: a busy machine is no fault of the code
settings.register_profile("kit", deadline=None)
settings.load_profile("kit")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
