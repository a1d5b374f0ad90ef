"""The manifests of k8s/ as kustomize builds them: they fit the schemas, ask for no more rights than they need and
name only what is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import yaml

import raybench

from .built import K8S, OVERLAYS, Manifest, built, is_rays, native_faults, of_kind, pods, ray_faults, ray_job

ROOT = K8S.parent
MADE_BY_OTHERS = {"raybench-s3"}  # the secret, which is made by hand
PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}


@pytest.fixture(scope="module")
def schemas() -> Path:
    root = Path(os.environ.get("RAYBENCH_SHARED", ROOT.parent / "shared")) / "k8s-schemas"
    if not root.is_dir():
        pytest.skip(f"needs the schemas of KubeRay, not found at {root} (set RAYBENCH_SHARED)")
    return root


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return built(str(request.param))


def test_what_is_kubernetes_own_fits(manifests: list[Manifest]) -> None:
    assert [native_faults(one) for one in manifests if not is_rays(one) and native_faults(one)] == []


def test_what_is_kuberays_fits(manifests: list[Manifest], schemas: Path) -> None:
    rays = [one for one in manifests if is_rays(one)]
    assert rays
    assert [fault for one in rays for fault in ray_faults(one, schemas)] == []
    for one in rays:  # its pods are Kubernetes' own
        for pod in pods(one):
            bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod["spec"]}
            assert native_faults(bare) == []


def test_a_misspelt_field_would_be_found(schemas: Path) -> None:
    (job,) = of_kind("RayJob", built("training"))
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParam"] = {}
    assert "rayStartParam" in "".join(ray_faults(job, schemas))
    (job,) = of_kind("RayJob", built("training"))
    del job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    assert "template" in "".join(ray_faults(job, schemas))
    (cron,) = of_kind("CronJob", built("daily"))
    cron["spec"]["concurencyPolicy"] = cron["spec"].pop("concurrencyPolicy")
    assert "concurencyPolicy" in "".join(native_faults(cron))


def test_containers_may_do_little(manifests: list[Manifest]) -> None:
    """What the restricted standard of pod security asks for, and a file system that nobody writes to."""
    found = [pod for one in manifests for pod in pods(one)]
    assert found
    for pod in (pod["spec"] for pod in found):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all({"emptyDir", "configMap"} & volume.keys() for volume in pod["volumes"])
        for container in pod["containers"]:
            held = container["securityContext"]
            assert held["allowPrivilegeEscalation"] is False
            assert held["readOnlyRootFilesystem"] is True
            assert held["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
            for way in ("requests", "limits"):
                assert {"cpu", "memory", "ephemeral-storage"} <= container["resources"][way].keys()


def test_ray_pods_have_no_token_of_kubernetes_and_one_of_ray(manifests: list[Manifest]) -> None:
    for one in filter(is_rays, manifests):
        cluster = one["spec"] if one["kind"] == "RayCluster" else ray_job(one)["rayClusterSpec"]
        assert cluster["authOptions"] == {"mode": "token"}
        assert cluster["rayVersion"] == ray.__version__
        for pod in pods(one):
            assert pod["spec"]["automountServiceAccountToken"] is False
            assert pod["spec"]["serviceAccountName"] == "raybench"
            assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "raybench"  # the network policy's


def test_rights_are_few() -> None:
    (role,) = of_kind("Role", built("daily"))
    assert role["rules"] == [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "create", "delete"]},
    ]
    every = [one for name in OVERLAYS for one in built(name)]
    assert [one["kind"] for one in every if one["kind"].startswith("Cluster")] == []
    (binding,) = of_kind("RoleBinding", every)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "raybench-daily", "namespace": "raybench"}]


def test_secrets_come_by_reference(manifests: list[Manifest]) -> None:
    assert of_kind("Secret", manifests) == []
    assert not re.search(r"secret_access_key|access_key_id|password|auth_token", json.dumps(manifests).lower())


def names_in(value: object, keys: set[str]) -> Iterator[tuple[str, str]]:
    """Names that something refers to, by the key under which it does."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in keys:
                yield key, each if isinstance(each, str) else each["name"]
            yield from names_in(each, keys)
    if isinstance(value, list):
        for each in value:
            yield from names_in(each, keys)


def test_what_is_referred_to_is_there(manifests: list[Manifest]) -> None:
    keys = {"configMapRef": "ConfigMap", "configMap": "ConfigMap", "serviceAccountName": "ServiceAccount"}
    keys["secretRef"] = "Secret"
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    wanted = {(keys[key], name) for key, name in names_in(manifests, set(keys)) if name not in MADE_BY_OTHERS}
    assert wanted <= there
    assert {one["metadata"]["namespace"] for one in manifests} == {"raybench"}


def test_ports_are_what_the_network_policy_lets_through(manifests: list[Manifest]) -> None:
    (policy,) = [one for one in of_kind("NetworkPolicy", manifests) if one["metadata"]["name"] == "raybench"]
    open_to_others = {
        port["port"]
        for rule in policy["spec"]["ingress"]
        for port in rule.get("ports", [])
        if any("namespaceSelector" in peer for peer in rule["from"])
    }
    assert open_to_others == {PORTS["dashboard"], PORTS["metrics"]}
    for one in filter(is_rays, manifests):
        cluster = one["spec"] if one["kind"] == "RayCluster" else ray_job(one)["rayClusterSpec"]
        for group in [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]:
            (container,) = group["template"]["spec"]["containers"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            assert ports == (PORTS if container["name"] == "ray-head" else {"metrics": PORTS["metrics"]})
            assert group["rayStartParams"]["metrics-export-port"] == str(PORTS["metrics"])
            assert group["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(PORTS["metrics"])


def test_nobody_else_is_reached_or_reaches_us(manifests: list[Manifest]) -> None:
    """Out go raybench's own pods, names and object storage, and nothing more; by default in goes nobody."""
    (policy,) = [one for one in of_kind("NetworkPolicy", manifests) if one["metadata"]["name"] == "raybench"]
    spec, ours = policy["spec"], {"matchLabels": {"app.kubernetes.io/part-of": "raybench"}}
    assert spec["podSelector"] == ours
    assert sorted(spec["policyTypes"]) == ["Egress", "Ingress"]
    among_us, names, storage = spec["egress"]
    assert among_us == {"to": [{"podSelector": ours}]}
    assert names == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    assert storage == {"ports": [{"protocol": "TCP", "port": 443}]}
    assert [rule["from"][0] for rule in spec["ingress"] if "ports" not in rule] == [{"podSelector": ours}]


def test_a_budget_keeps_every_pod_whose_loss_costs_work(manifests: list[Manifest]) -> None:
    """The head, and with it all workers that there are from the start."""
    (budget,) = of_kind("PodDisruptionBudget", manifests)
    labels = dict(budget["spec"]["selector"]["matchLabels"])
    kept = [labels.pop("ray.io/node-type")] if "ray.io/node-type" in labels else ["head", "worker"]  # KubeRay's
    (one,) = filter(is_rays, manifests)
    cluster = one["spec"] if one["kind"] == "RayCluster" else ray_job(one)["rayClusterSpec"]
    workers = cluster.get("workerGroupSpecs", [])
    groups = [(1, cluster["headGroupSpec"]), *((each["replicas"], each) for each in workers)]
    assert kept[-1] == ("worker" if workers else "head")
    assert all(labels.items() <= group["template"]["metadata"]["labels"].items() for _, group in groups)
    assert budget["spec"]["minAvailable"] == sum(count for count, _ in groups)


def test_a_job_is_tried_again_where_it_goes_on_from_what_it_left() -> None:
    """On a new cluster, once: KubeRay looks at no exit code, so what the user has to put right is tried again, too."""
    for name in OVERLAYS:
        for job in map(ray_job, [one for one in built(name) if one["kind"] in ("RayJob", "RayCronJob")]):
            assert job["backoffLimit"] == ("--resume" in job["entrypoint"])


def test_gpu_overlays_run_the_same_commands() -> None:
    """tests/jobs runs those of the others; whether there is a GPU their configuration says (cluster.use_gpu)."""
    for name in ("training", "search"):
        commands = [ray_job(of_kind("RayJob", built(each))[0])["entrypoint"] for each in (name, f"{name}-gpu")]
        assert commands[0] == commands[1]
        assert "gpu" not in commands[0]


def test_gpus_are_asked_for_where_they_are() -> None:
    for name in ("training", "search"):
        without, on_gpus = of_kind("RayJob", built(name))[0], of_kind("RayJob", built(f"{name}-gpu"))[0]
        (group,) = on_gpus["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        pod = group["template"]["spec"]
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert pod["containers"][0]["image"].endswith("-cuda")
        assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        assert "nvidia" not in json.dumps(without)
        head = on_gpus["spec"]["rayClusterSpec"]["headGroupSpec"]
        assert "nvidia" not in json.dumps(head)  # the driver computes nothing


def test_the_cron_job_ends_and_does_not_try_for_ever() -> None:
    manifests = built("daily")
    (cron,), (template,) = of_kind("CronJob", manifests), of_kind("RayJob", manifests)
    spec, job = cron["spec"], cron["spec"]["jobTemplate"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] > 10  # the controller looks every ten seconds
    (container,) = job["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["TIME_ZONE"] == spec["timeZone"]
    (scripts,) = [one for one in of_kind("ConfigMap", manifests) if "start_daily.py" in one["data"]]
    assert container["command"] == ["python", f"{container['volumeMounts'][0]['mountPath']}/start_daily.py"]
    assert job["template"]["spec"]["volumes"][0]["configMap"]["name"] == scripts["metadata"]["name"]
    assert given["RAYJOB"] == template["metadata"]["name"]
    assert len(f"{given['RAYJOB']}-2026-01-05") <= 47  # KubeRay's limit
    ignored, failed = job["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert failed["action"] == "FailJob"
    assert failed["onExitCodes"]["operator"] == "NotIn"
    assert not {1, 2, 3} & set(failed["onExitCodes"]["values"])  # daily's: not again
    assert failed["onExitCodes"]["containerName"] == container["name"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a failure policy wants it
    assert template["spec"]["suspend"] is True
    assert template["spec"]["shutdownAfterJobFinishes"] is True  # KubeRay wants it of what is suspended
    assert template["spec"]["backoffLimit"] == 0
    assert job["activeDeadlineSeconds"] > template["spec"]["activeDeadlineSeconds"]


def test_kuberays_cron_runs_the_same() -> None:
    (cron,), (template,) = of_kind("RayCronJob", built("daily-raycronjob")), of_kind("RayJob", built("daily"))
    same = dict(template["spec"])
    del same["suspend"]
    assert ray_job(cron) == same


def test_entry_points_are_the_scripts_of_jobs(manifests: list[Manifest]) -> None:
    """tests/jobs runs them; they are named from the folder of the image in which Ray is started."""
    for one in manifests:
        if one["kind"] in ("RayJob", "RayCronJob"):
            python, script, *_ = shlex.split(ray_job(one)["entrypoint"])
            assert python == "python"
            assert (ROOT / script).is_file()
        for pod in pods(one) if is_rays(one) else ():
            folder = pod["spec"]["containers"][0]["workingDir"]
            assert f"WORKDIR {folder}" in (K8S / "Dockerfile").read_text().splitlines()


def test_image_is_pinned_and_not_roots() -> None:
    lines = (K8S / "Dockerfile").read_text().splitlines()
    (base,) = [line.partition("=")[2] for line in lines if line.startswith("ARG BASE=")]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}", base)
    (packages,) = [
        line.split("--no-install-recommends ")[1].split()[:-1] for line in lines if "apt-get install" in line
    ]
    assert [each for each in packages if "=" not in each] == []
    assert "Python 3.11" in (ROOT / "constraints.txt").read_text().splitlines()[0]
    assert [line.split()[1] for line in lines if line.startswith("FROM")] == ["${BASE}"]
    assert not re.search(r"\bPATH=", "\n".join(lines))  # which a login shell, as KubeRay's, would not keep
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    (install,) = [line for line in lines if "pip install" in line]
    assert "--require-hashes" in install
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = [word.strip("/") for words in copies for word in words]
    assert [word for word in copied if not (ROOT / word).exists()] == []
    ignored = (K8S / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"  # a context of what is copied alone
    assert {line[1:] for line in ignored if line[0] == "!"} == set(copied)


def requirements(file: Path) -> dict[str, str]:
    """Versions by name."""
    pairs = [line.split()[0].split("==") for line in file.read_text().splitlines() if line[:1] not in ("", "#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_the_image_has_what_the_tests_ran_with(variant: str) -> None:
    file = K8S / f"requirements-{variant}.txt"
    lines = file.read_text().splitlines()[1:]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    has, ran_with = requirements(file), requirements(ROOT / "constraints.txt")
    of_cuda = {name for name in has if re.match(r"nvidia-|cuda-|triton$", name)}
    assert (len(of_cuda) > 10) is (variant == "cuda")
    others = {name for name in has if has[name].partition("+")[0] != ran_with.get(name)}
    assert others == {*of_cuda, "setuptools"}  # which pip freeze leaves out
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["lightgbm"]]
    assert {re.split(r"[\[>]", each)[0].replace("_", "-").lower() for each in wanted} <= has.keys()


def test_pins_are_taken_from_a_report_of_pip(tmp_path: Path) -> None:
    def package(name: str, version: str, **info: object) -> dict[str, object]:
        return {"metadata": {"name": name, "version": version}, "download_info": info}

    hashed = {"archive_info": {"hashes": {"sha256": "a" * 64}}}
    report = tmp_path / "report.json"

    def pin(*packages: dict[str, object]) -> subprocess.CompletedProcess[str]:
        report.write_text(json.dumps({"install": packages}))
        return subprocess.run([sys.executable, str(K8S / "pin.py"), str(report)], capture_output=True, text=True)

    done = pin(package("Zlib", "1", **hashed), package("arch", "8.0", **hashed), package("raybench", "0", dir_info={}))
    assert done.stdout.splitlines()[1:] == [f"arch==8.0 --hash=sha256:{'a' * 64}", f"Zlib==1 --hash=sha256:{'a' * 64}"]
    done = pin(package("odd", "1", vcs_info={}))
    assert (done.returncode, done.stderr) == (1, "odd: the report has no hash of it\n")


def test_images_are_of_this_version(manifests: list[Manifest]) -> None:
    images = {container["image"] for one in manifests for pod in pods(one) for container in pod["spec"]["containers"]}
    tag = f"raybench:{raybench.__version__}"
    assert images <= {tag, f"{tag}-cuda"}


def test_what_validates_is_a_dependency_of_development() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(each.startswith("kubernetes-validate") for each in extras["dev"])


def test_the_page_s_own_overlay_is_built_and_its_way_has_ten_commands(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    (overlay,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    shutil.copytree(K8S, tmp_path / "k8s")
    mine = tmp_path / "mine" / "daily"
    mine.mkdir(parents=True)
    (mine / "kustomization.yaml").write_text(overlay)
    manifests = built(mine)
    (cron,), (job,) = of_kind("CronJob", manifests), of_kind("RayJob", manifests)
    assert [fault for one in manifests if not is_rays(one) for fault in native_faults(one)] == []
    (starter,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each.get("value") for each in starter["env"]}["TIME_ZONE"] == cron["spec"]["timeZone"]
    assert len(starter["env"]) == 5  # the others stay
    images = {container["image"] for one in (cron, job) for pod in pods(one) for container in pod["spec"]["containers"]}
    assert images == {f"registry.example/quant/raybench:{raybench.__version__}"}
    (stored,) = [one for one in of_kind("ConfigMap", manifests) if one["metadata"]["name"] == "raybench-storage"]
    assert stored["data"]["RAYBENCH_STORE"] == "s3://ours/cn"
    assert stored["data"]["AWS_REGION"]
    commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[0].splitlines()
    assert len(commands) == 10
    applied = {command.split()[-1] for command in commands if "apply -k" in command}
    assert applied == {"mine/daily", "mine/training"}


def test_every_kustomization_is_built() -> None:
    found = {path.parent for path in K8S.rglob("kustomization.yaml")}
    components = {
        path for path in found if yaml.safe_load((path / "kustomization.yaml").read_text())["kind"] != "Kustomization"
    }
    assert found - components - {K8S / "base"} == {K8S / "overlays" / name for name in OVERLAYS}
