"""MeshCentral: its server, its agent on an operated machine, its console.

In: nodes of a `Scene`. Out: a running server with one device group, an agent that is connected to it, the command line of the operator's console.
"""
import json
import time
import urllib.parse

PORT = 443
START_SECONDS = 120
CONNECT_SECONDS = 60


class MeshCentral:
    """A MeshCentral server on a node, under a DNS name."""

    def __init__(self, scene, node, name):
        self.node, self.name = node, name
        scene.npm_program("meshcentral")
        self._package = scene.tools / "npm" / "node_modules" / "meshcentral"
        self._password = "Adm" + str(scene.rng("meshcentral").randrange(10**9)) + "!x"
        data = node.directory / "meshcentral"
        data.mkdir()
        settings = {"cert": name, "port": PORT, "redirPort": 0, "WANonly": True, "selfUpdate": False, "noAgentUpdate": 1, "webRTC": False, "exactPorts": True, "autoBackup": False, "mongoDb": None}
        (data / "config.json").write_text(json.dumps({"settings": settings, "domains": {"": {"title": "Help Desk", "newAccounts": True}}}))
        command = ["node", self._package, "--datapath", data, "--filespath", node.directory / "files"]
        environment = {"NODE_ENV": "production"}
        for step in (["--createaccount", "admin", "--pass", self._password, "--email", "admin@example.net"], ["--adminaccount", "admin"]):
            node.run([*command, *step], env=environment, timeout=START_SECONDS)
        node.wait_port(PORT, node.spawn(command, "meshcentral", env=environment), seconds=START_SECONDS)
        time.sleep(2)
        self._control(node, "adddevicegroup", "--name", "desks")
        self._group = self._list("listdevicegroups")[0]["_id"].split("//")[1]

    def console(self, *arguments):
        """The console's command line."""
        return ["node", self._package / "meshctrl.js", *arguments, "--url", f"wss://{self.name}:{PORT}", "--loginuser", "admin", "--loginpass", self._password]

    def _control(self, node, *arguments):
        return node.run(self.console(*arguments), check=False, env={"NODE_TLS_REJECT_UNAUTHORIZED": "0"})

    def _list(self, what):
        said = self._control(self.node, what, "--json")
        found = json.loads(said[said.index("["):])
        return [item for entry in found for item in (entry if isinstance(entry, list) else [entry])]

    def install_agent(self, node, account):
        """Puts the agent on a node and lets it fetch what it needs from the server (some 600 kB) for the first time."""
        home = f"/home/{account.user}/agent"
        settings = f"https://{self.node.address}/meshsettings?id={urllib.parse.quote(self._group, safe='')}"
        (self.node.directory / "agent.msh").write_text(self.node.run(["curl", "-sSk", settings]))
        node.run(f"mkdir {home} && cp {self._package}/agents/meshagent_x86-64 {home}/meshagent && cp {self.node.directory}/agent.msh {home}/meshagent.msh && chmod 755 {home}/meshagent && chown -R {account.user}:{account.user} {home}")
        self._node, self._account, self._home = node, account, home
        process, _ = self.start_agent()
        time.sleep(10)
        node.stop(process)
        time.sleep(5)

    def start_agent(self):
        """(process, device's id) once the installed agent is connected."""
        node, account, home = self._node, self._account, self._home
        process = node.spawn(f"cd {home} && exec ./meshagent connect", "meshagent", user=account.user)
        deadline = time.monotonic() + CONNECT_SECONDS
        while time.monotonic() < deadline:
            node.must_live(process)
            connected = [device["_id"] for device in self._list("listdevices") if device.get("conn", 0) & 1]
            if connected:
                return process, connected[0].split("//")[1]
            time.sleep(1)
        raise RuntimeError(f"the agent did not connect: {node.log('meshagent')[-500:]}")
