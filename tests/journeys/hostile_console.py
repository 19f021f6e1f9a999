"""Make a console whose every text is hostile; then say more of it, a line each time one is asked.

Run as a process of its own, in the environment of the console: prints one line of JSON.
"""

import json
import sys

import django


def main() -> None:
    django.setup()
    from django.core.management import call_command

    call_command("prepare", "--no-demo", stdout=sys.stderr)
    from tests.web import hostile_text
    from tests.web.access_scene import OWN, TwoSides
    from tests.web.test_access_matrix import ENDPOINTS, Asker

    scene = TwoSides()
    hostile_text.be_everything(scene.ada)
    hostile_text.save_policy(scene)
    asker = Asker(scene)
    left = hostile_text.fill(scene)
    scene.ada.refresh_from_db()
    everybody = {"ada": scene.ada, "viewer": scene.people["viewer"], "rita": scene.rita}
    told = {
        "left": left,
        "sessions": {
            name: asker.browser(who).cookies["sessionid"].value for name, who in everybody.items()
        },
        "pages": [
            [name, asker.address(name, OWN, scene.ada), endpoint.methods["GET"]]
            for name, endpoint in sorted(ENDPOINTS.items())
            if "GET" in endpoint.methods
        ],
        "live": f"/plans/{scene.plans[OWN].pk}/",
    }
    tell(json.dumps(told))
    for line in sys.stdin:
        hostile_text.say(scene.plans[OWN], line.rstrip("\n") + hostile_text.hostile(None))
        tell("said")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
