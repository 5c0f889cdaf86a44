"""The course on a JupyterHub: one installation, one model cache and one queue for everybody, a workspace for each.

A hub of your own:   jupyterhub -f docs/hub/jupyterhub_config.py      (as root, on Linux)
TLJH:                copy this file to /opt/tljh/config/jupyterhub_config.d/course.py, then `tljh-config reload hub`

What has to be there before, and why each line is as it is: docs/instructor.md, 「JupyterHub」.
"""

import os
from pathlib import Path

c = get_config()  # noqa: F821, JupyterHub brings it

COURSE = Path(os.environ.get("COURSE_HOME", "/opt/course"))  # the course, installed by its launcher; root's
SHARED = Path(os.environ.get("COURSE_SHARED", "/srv/course"))

# `course lab` copies the notebooks into the workspace, then becomes the learner's server.
c.Spawner.cmd = [os.environ.get("COURSE_COMMAND", str(COURSE / ".venv/bin/course")), "lab"]
c.Spawner.default_url = "/lab"
c.Spawner.environment = {
    "COURSE_WORKSPACE": "~/course-workspace",  # made for its owner alone
    "COURSE_CACHE": str(SHARED / "cache"),  # root's: everyone reads it, nobody can change a model under the others
    "COURSE_QUEUE": str(SHARED / "queue"),  # mode 1777; not in /tmp, where systemd gives everyone one of their own
    "COURSE_PROFILE": "classroom",
}
# One training at a time comes from the queue. These bound what somebody does beside it; a spawner for systemd, such as
# TLJH's, enforces them, JupyterHub's own local one does not. The peak of a training is in benchmarks/README.md.
c.Spawner.mem_limit = "6G"
c.Spawner.cpu_limit = 2.0
c.JupyterHub.active_server_limit = 30

# Who has an account on this computer may log in. TLJH has authenticators of its own, and makes the accounts.
if not os.environ.get("TLJH_INSTALL_PREFIX"):
    c.PAMAuthenticator.open_sessions = False
    c.LocalAuthenticator.allowed_groups = {os.environ.get("COURSE_GROUP", "course")}
    c.JupyterHub.bind_url = os.environ.get("COURSE_HUB", "http://0.0.0.0:8000")
