"""MeshCentral: its server, its agent on an operated machine, its console.

In: nodes of a `Scene`. Out: a running server with one device group, an agent connected to it, the operator's console.
"""

import json
import time
import urllib.parse

PORT = 443
START_SECONDS = 120
CONNECT_SECONDS = 60
SETTINGS = {
    "port": PORT,
    "redirPort": 0,
    "WANonly": True,
    "selfUpdate": False,
    "noAgentUpdate": 1,
    "webRTC": False,
    "exactPorts": True,
    "autoBackup": False,
    "mongoDb": None,
}


class MeshCentral:
    """A MeshCentral server on a node, under a DNS name. With `plain_port` it speaks plain HTTP there, and whoever has the name ends TLS."""

    def __init__(self, scene, node, name, plain_port=None):
        self.node, self.name = node, name
        self._site = f"http://{node.address}:{plain_port}" if plain_port else f"https://{node.address}"
        port = plain_port or PORT
        settings = SETTINGS | {"cert": name, "port": port}
        if plain_port:
            settings |= {"tlsOffload": True, "aliasPort": PORT, "ignoreAgentHashCheck": True}
        scene.npm_program("meshcentral")
        self._package = scene.tools / "npm" / "node_modules" / "meshcentral"
        self._password = f"Adm{scene.rng('meshcentral').randrange(10**9)}!x"
        data = node.directory / "meshcentral"
        data.mkdir()
        domain = {"title": "Help Desk", "newAccounts": True}
        configuration = {"settings": settings, "domains": {"": domain}}
        (data / "config.json").write_text(json.dumps(configuration))
        command = ["node", self._package, "--datapath", data, "--filespath", node.directory / "files"]
        environment = {"NODE_ENV": "production"}
        account = ["--createaccount", "admin", "--pass", self._password, "--email", "admin@example.net"]
        for step in (account, ["--adminaccount", "admin"]):
            node.run([*command, *step], env=environment, timeout=START_SECONDS)
        node.wait_port(port, node.spawn(command, "meshcentral", env=environment), seconds=START_SECONDS)
        time.sleep(2)
        self._control("adddevicegroup", "--name", "desks")
        self._group = self._list("listdevicegroups")[0]["_id"].split("//")[1]

    def console(self, *arguments):
        """The console's command line; it accepts the scene's own certificate."""
        login = ["--url", f"wss://{self.name}:{PORT}", "--loginuser", "admin", "--loginpass", self._password]
        accept = ["env", "NODE_TLS_REJECT_UNAUTHORIZED=0"]
        return [*accept, "node", self._package / "meshctrl.js", *arguments, *login]

    def _control(self, *arguments):
        return self.node.run(self.console(*arguments), check=False)

    def _list(self, what):
        said = self._control(what, "--json")
        found = json.loads(said[said.index("[") :])
        return [item for entry in found for item in (entry if isinstance(entry, list) else [entry])]

    def install_agent(self, node, account):
        """Puts the agent on a node and lets it fetch what it needs from the server (some 600 kB) for the first time."""
        self._node, self._account, self._home = node, account, f"/home/{account.user}/agent"
        group = urllib.parse.quote(self._group, safe="")
        settings = self.node.directory / "agent.msh"
        settings.write_text(self.node.run(["curl", "-sSk", f"{self._site}/meshsettings?id={group}"]))
        node.run(f"""set -e
            mkdir {self._home}
            cp {self._package}/agents/meshagent_x86-64 {self._home}/meshagent
            cp {settings} {self._home}/meshagent.msh
            chmod 755 {self._home}/meshagent
            chown -R {account.user}:{account.user} {self._home}""")
        process, _ = self.start_agent()
        time.sleep(10)
        node.stop(process)
        time.sleep(5)

    def start_agent(self):
        """(process, device's id) once the installed agent is connected."""
        process = self.spawn_agent()
        deadline = time.monotonic() + CONNECT_SECONDS
        while time.monotonic() < deadline:
            self._node.must_live(process)
            connected = [device["_id"] for device in self._list("listdevices") if device.get("conn", 0) & 1]
            if connected:
                return process, connected[0].split("//")[1]
            time.sleep(1)
        raise RuntimeError(f"the agent did not connect: {self._node.log('meshagent')[-500:]}")

    def spawn_agent(self):
        """The installed agent's process; nobody looks whether it connects."""
        start = f"cd {self._home} && exec ./meshagent connect"
        return self._node.spawn(start, "meshagent", user=self._account.user)
