package sample;

/** Started as another process. */
public final class Child {
    public static void main(String[] arguments) {
        System.out.println("child " + arguments.length);
    }
}
